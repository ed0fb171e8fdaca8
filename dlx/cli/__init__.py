"""The command line: parse, call one function, show the result. Commands import the heavy parts when they run."""
