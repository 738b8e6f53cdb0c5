"""Structured logs: one line per change of state, ``event key=value …``, on standard error."""

import json
import logging
import os
import sys
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SYSLOG: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_QUIET: Final = ("pymodbus", "asyncua", "mqtt", "uvicorn", "aiohttp")


class KeyValueFormatter(logging.Formatter):
    """Text first, then the fields given as ``extra``; under systemd with the priority that journald understands."""

    def __init__(self, *, has_time: bool) -> None:
        super().__init__("%(asctime)s " if has_time else "")
        self._has_time = has_time

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own where the record has one."""
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        pairs = " ".join(f"{key}={_text(value)}" for key, value in fields.items())
        start = self.formatTime(record) + " " if self._has_time else f"<{_SYSLOG.get(record.levelno, 6)}>"
        line = f"{start}{record.levelname.lower()} {record.name}: {record.getMessage()} {pairs}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if " " in text else text


def set_up_logging() -> None:
    """Davy's own loggers at INFO (``DAVY_LOG=debug`` for more), libraries at WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter(has_time="JOURNAL_STREAM" not in os.environ))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("davy").setLevel(os.environ.get("DAVY_LOG", "info").upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
