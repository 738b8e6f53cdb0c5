"""``davy reload`` and SIGHUP: the new file is validated whole, and applied as a record in its order, or not at all."""

import asyncio
import hashlib
import json
import logging
import pickle
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from agent.config.errors import ConfigError
from agent.differences import Difference, differences
from agent.pipeline import Pipeline
from agent.prepare import Prepared, prepare
from rules.build import RuleSet

log = logging.getLogger("davy.reload")

LIVE: Final = ("rules", "rules_settings", "acceptances")
"""Parts of the configuration that are taken over while the agent runs; the others need a restart."""
PROBLEMS_MAX: Final = 20
LOAD_LIMIT_S: Final = 120.0


class ReloadError(Exception):
    """Nothing was changed; the text says why."""


class Reload:
    """Takes over a changed configuration file. One at a time; what is refused leaves everything as it was."""

    def __init__(
        self,
        path: Path,
        pipeline: Pipeline,
        in_force: Callable[[], bytes | None],
        keep: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """``in_force``: the configuration that was kept last; ``keep``: makes a new one durable."""
        self._path = path
        self._pipeline = pipeline
        self._in_force = in_force
        self._keep = keep
        self._one_at_a_time = asyncio.Lock()
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """SIGHUP came."""
        self._asked.set()

    async def run(self) -> None:
        """Reload at each SIGHUP until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            # Only root and the agent's own account can send the signal.
            await self.reload({"actor": "SIGHUP", "via": "signal"}, None)

    async def reload(self, actor: Mapping[str, Any], force: str | None) -> dict[str, Any]:
        """Load, compare, apply; the outcome as JSON types. ``actor``: fields of whoever asked, for the records."""
        async with self._one_at_a_time:
            try:
                found = await self._apply(actor, force)
            except ReloadError as error:
                log.error("reload refused: everything stays as it was", extra={"error": str(error)})
                seq = await self._pipeline.note("reload_refused", {**actor, "reason": str(error), "force": force})
                return {"outcome": "rejected", "reason": str(error), "seq": seq}
            log.warning("configuration reloaded", extra={"differences": len(found), "actor": actor.get("actor")})
            return {
                "outcome": "done",
                "reason": None if found else "nothing changed",
                "differences": [each.to_fields() for each in found],
                "waiting": list(getattr(self._pipeline.engine, "waiting", ())),
                "rules_version": self._pipeline.engine.rules.version,
            }

    async def _apply(self, actor: Mapping[str, Any], force: str | None) -> Sequence[Difference]:
        prepared = await load_in_child(self._path)
        old = json.loads(self._in_force() or b"{}")
        new: dict[str, Any] = json.loads(prepared.configuration)
        found = differences(old, new)
        fixed = sorted({each.path for each in found if each.path.split("/")[0] not in LIVE})
        if fixed:
            more = f" and {len(fixed) - 5} more" if len(fixed) > 5 else ""
            raise ReloadError(f"needs a restart of the agent, nothing was applied: {', '.join(fixed[:5])}{more}")
        if found or force is not None:
            await self._adopt(prepared.rules, prepared.configuration, {**actor, "force": force}, found)
        return found

    async def _adopt(self, rules: RuleSet, text: bytes, actor: Mapping[str, Any], found: Sequence[Difference]) -> None:
        digest = hashlib.sha256(text).hexdigest()
        await self._pipeline.reconfigure(rules, {**json.loads(text), "digest": digest, **actor})
        await tell_differences(self._pipeline, found, actor)
        await self._keep(text)


async def tell_differences(pipeline: Pipeline, found: Sequence[Difference], actor: Mapping[str, Any]) -> None:
    """Each difference is an audit record, old → new, with who made it (spec/rules.md G3)."""
    await pipeline.note_all("change", [{**actor, **each.to_fields()} for each in found])


async def load_in_child(path: Path) -> Prepared:
    """Validate in a child process, whose garbage dies with it; ReloadError names the first problems."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent.reload",
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(LOAD_LIMIT_S):
            data, _ = await child.communicate()
    except TimeoutError as error:
        raise ReloadError(f"{path}: not loaded within {LOAD_LIMIT_S:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if not data:
        raise ReloadError(f"{path}: loading it ended with code {child.returncode}")
    result: object = pickle.loads(data)
    if isinstance(result, ConfigError):
        raise ReloadError("\n".join(problem.to_text() for problem in result.problems[:PROBLEMS_MAX])) from result
    return cast("Prepared", result)


def _main(path: Path) -> None:
    """In the child: send what came of it through standard output."""
    try:
        result: object = prepare(path)
    except ConfigError as error:
        result = error
    pickle.dump(result, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
