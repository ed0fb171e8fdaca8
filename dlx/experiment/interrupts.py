"""SIGINT, SIGTERM and SIGHUP: the first one asks to save and stop, the second one leaves at once.

A signal that was ignored when the process started (SIGHUP under nohup, SIGINT of a background job) stays ignored.

Python runs signal handlers between its own instructions, so that one that arrives in a long compilation waits until it is
over. The wake-up pipe is written by the C handler itself: a thread reads it and sees every signal when it comes.
"""

import os
import signal
import threading
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """A context in which signals are counted. Outside the main thread, where Python allows no handlers, it does nothing."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupts":
        if self._active:
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            heard = [s for s in _SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
            self._handlers = {s: signal.signal(s, _ignore) for s in heard}
            self._thread = threading.Thread(target=self._watch, daemon=True, name="dlx-signals")
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._active:
            signal.set_wakeup_fd(self._wakeup)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._write)  # ends the thread
            self._thread.join()
            os.close(self._read)

    def _watch(self) -> None:
        while byte := os.read(self._read, 1):
            if byte[0] not in _SIGNALS:
                continue
            if self.received is not None:
                # Nothing is half written: checkpoints are renamed into place, the store is transactional.
                os._exit(128 + byte[0])
            self.received = signal.Signals(byte[0])


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe has told the thread already."""
