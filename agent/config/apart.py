"""Load a configuration in a child process, so that what parsing leaves behind dies with it.

Parsing YAML for 8,000 tags and as many rules leaves a heap of 100 MB of which 27 MB are in use; an agent that runs for
years should not carry the holes. The child sends the finished configuration through a pipe.
"""

import os
import pickle
from pathlib import Path
from typing import cast

from agent.config.errors import ConfigError
from agent.config.load import Loaded, load


def load_apart(path: Path) -> Loaded:
    """As :func:`agent.config.load.load`; call it before any thread or event loop is started."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _load_and_send(path, read_end, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        return load(path)  # the child died (no memory for two?): try without it, errors included
    result: object = pickle.loads(data)
    if isinstance(result, ConfigError):
        raise result
    return cast("Loaded", result)


def _load_and_send(path: Path, read_end: int, write_end: int) -> None:
    """In the child: send the configuration or the ConfigError, and end without running anybody's clean-up."""
    code = 1
    try:
        os.close(read_end)
        try:
            result: object = load(path)
        except ConfigError as error:
            result = error
        with os.fdopen(write_end, "wb") as pipe:
            pickle.dump(result, pipe, pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        os._exit(code)
