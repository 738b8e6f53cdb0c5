"""Secrets: ``${env:NAME}``, ``${file:path}`` and ``${credential:name}`` are resolved, remembered and masked."""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from agent.config.document import SubstitutionError, as_list, as_mapping
from agent.config.errors import Path, Text

SECRET_BYTES_MAX: Final = 64 << 10
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_MASK_LENGTH_MIN: Final = 4
"""Shorter values are masked where they stand, but not searched for in free text."""
MASK: Final = "***"


class Secrets:
    """Resolves references of one load and knows afterwards what must not be shown."""

    def __init__(self, directory: FilePath, env: Mapping[str, str], credentials_dir: FilePath | None) -> None:
        self._directory = directory
        self._env = env
        self._credentials_dir = credentials_dir
        self._values: set[str] = set()
        self._pending: dict[Path, str] = {}
        self.references: dict[Path, str] = {}
        """Where a reference stands in the whole configuration, and the text as written."""

    def substitute(self, text: str, path: Path) -> str:
        """The text with its references replaced; ``$${`` stands for ``${``. Raises SubstitutionError."""
        self._pending[path] = text
        return _REFERENCE.sub(self._replace, text)

    def take_over(self, top: str, offset: int) -> None:
        """Adopt the references of the file just parsed, whose list ``top`` begins at ``offset`` in the whole."""
        for path in [path for path in self._pending if path[0] == top]:
            text = self._pending.pop(path)
            if offset and len(path) > 1 and isinstance(path[1], int):
                path = (path[0], path[1] + offset, *path[2:])
            self.references[path] = text

    def mask(self, text: str) -> str:
        """The text without any secret value."""
        for value in self._values:
            if len(value) >= _MASK_LENGTH_MIN:
                text = text.replace(value, MASK)
        return text

    def mask_all(self, value: Any, path: Path = ()) -> Any:
        """A dump of the configuration in which references stand as written and secret values nowhere."""
        if path in self.references:
            return self.references[path]
        fields, items = as_mapping(value), as_list(value)
        if fields is not None:
            return {key: self.mask_all(item, (*path, key)) for key, item in fields.items()}
        if items is not None:
            return [self.mask_all(item, (*path, i)) for i, item in enumerate(items)]
        return self.mask(value) if isinstance(value, str) else value

    def _replace(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        kind, _, name = (match[1] or "").partition(":")
        if kind not in _KINDS or not name or not match[0].endswith("}"):
            raise SubstitutionError(
                Text(
                    "expected ${env:NAME}, ${file:path} or ${credential:name}",
                    "应为 ${env:名称}、${file:路径} 或 ${credential:名称}",
                )
            )
        value = self._env_value(name) if kind == "env" else self._file_value(kind, name)
        if not value:
            raise SubstitutionError(Text(f"the secret {kind}:{name} is empty", f"密钥 {kind}:{name} 为空"))
        self._values.add(value)
        return value

    def _env_value(self, name: str) -> str:
        if name not in self._env:
            raise SubstitutionError(Text(f"the environment variable {name} is not set", f"环境变量 {name} 未设置"))
        return self._env[name]

    def _file_value(self, kind: str, name: str) -> str:
        path = self._directory / name if kind == "file" else self._credential(name)
        try:
            if path.stat().st_size > SECRET_BYTES_MAX:
                raise SubstitutionError(Text(f"{path} is too large for a secret", f"{path} 过大，不像密钥"))
            return path.read_bytes().decode().rstrip("\r\n")
        except OSError as error:
            raise SubstitutionError(
                Text(
                    f"the secret {kind}:{name} cannot be read: {error.strerror}",
                    f"无法读取密钥 {kind}:{name}：{error.strerror}",
                )
            ) from error
        except UnicodeDecodeError as error:
            raise SubstitutionError(Text(f"{path} is not UTF-8", f"{path} 不是 UTF-8 编码")) from error

    def _credential(self, name: str) -> FilePath:
        if "/" in name or name in (".", ".."):
            raise SubstitutionError(Text("a credential's name has no path", "凭据名称不能包含路径"))
        if self._credentials_dir is None:
            raise SubstitutionError(
                Text(
                    f"no credentials directory for {name}: use systemd's LoadCredential= or set CREDENTIALS_DIRECTORY",
                    f"没有存放 {name} 的凭据目录：请在 systemd 中使用 LoadCredential=，或设置 CREDENTIALS_DIRECTORY",
                )
            )
        return self._credentials_dir / name


_KINDS: Final = frozenset({"env", "file", "credential"})
