"""What there is to choose from: `dlx models`, `dlx data`, `dlx recipes`, `dlx config`. All from the config classes, no JAX."""

from typing import Annotated

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, experiment_from


def list_models(as_json: options.AsJson = False) -> None:
    """List the kinds of `model.kind` with their keys."""
    _list_kinds("model", as_json=as_json)


def list_data(as_json: options.AsJson = False) -> None:
    """List the kinds of `data.kind` with their keys."""
    _list_kinds("data", as_json=as_json)


def show_model(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    as_json: options.AsJson = False,
) -> None:
    """Show an experiment's network: layers, output shapes, parameters. Reads the data, for its shape."""
    from dlx.experiment.describe import describe_model
    from dlx.report.console import for_output, print_json
    from dlx.report.plan import layers_table

    layers = describe_model(experiment_from(Words(arguments, data, target, model)))
    if as_json:
        print_json({"layers": [vars(layer) for layer in layers], "parameters": sum(layer.parameters for layer in layers)})
    else:
        for_output().print(layers_table(layers))


def list_recipes(as_json: options.AsJson = False) -> None:
    """List the recipes."""
    from dlx.config.load import recipes as all_recipes
    from dlx.report.console import for_output, print_json
    from dlx.report.tables import rows_table

    found = list(all_recipes())
    if as_json:
        print_json({"recipes": [{"name": r.name, "summary": r.summary} for r in found]})
    else:
        for_output().print(rows_table(("recipe", "what"), [(r.name, r.summary) for r in found]))


def show_recipe(name: Annotated[str, typer.Argument(help="The recipe's name.")]) -> None:
    """Print a recipe's YAML: a starting point for your own file."""
    from dlx.config.load import find_recipe

    typer.echo(find_recipe(name).text, nl=False)


def schema() -> None:
    """Print the JSON Schema of a config file, from which editors complete and check."""
    import json

    from dlx.config import Experiment

    typer.echo(json.dumps(Experiment.model_json_schema(), indent=2))


def _list_kinds(section: str, *, as_json: bool) -> None:
    from dlx.config.catalog import describe_kinds
    from dlx.report.console import for_output, print_json
    from dlx.report.tables import rows_table

    found = describe_kinds(section)
    if as_json:
        print_json({section: [{"kind": k.kind, "summary": k.summary, "keys": dict(k.keys)} for k in found]})
    else:
        rows = [(k.kind, f"{k.summary}\n{', '.join(f'{key}={value}' for key, value in k.keys.items())}") for k in found]
        for_output().print(rows_table(("kind", "what, and the keys with their defaults"), rows))


models = typer.Typer(help="The networks.", no_args_is_help=True)
models.command("ls")(list_models)
models.command("show")(show_model)
data = typer.Typer(help="The data sources.", no_args_is_help=True)
data.command("ls")(list_data)
recipes = typer.Typer(help="The experiments that ship with dlx.", no_args_is_help=True)
recipes.command("ls")(list_recipes)
recipes.command("show")(show_recipe)
config = typer.Typer(help="The config's own description.", no_args_is_help=True)
config.command("schema")(schema)
