"""The Chinese of the English sentences that validators raise."""

import re
from typing import Final

from agent.config.errors import Text

_TABLE: Final[dict[str, str]] = {
    # fields
    r"expected a number with a unit \((.+)\), such as (.+)": r"应为带单位的数值（\1），例如 \2",
    r"expected a text with a unit, such as (.+); a bare number has no unit": (
        r"应为带单位的文本，例如 \1；纯数字没有单位"
    ),
    r"expected readings per second, such as (.+)": r"应为每秒读数，例如 \1",
    r"(.+) is not a whole number of (.+)": r"\1 不是 \2 的整数倍",
    r"expected low < high, found (.+)": r"应为 下限 < 上限，现为 \1",
    r"expected (\S+) to (\S+)": r"应在 \1 到 \2 之间",
    r"expected (\S+) to (\S+) in whole seconds, found (.+)": r"应为 \1 到 \2 之间的整秒数，现为 \3",
    r"expected at least (\S+)": r"应至少为 \1",
    r"expected at least (\S+), found (.+)": r"应至少为 \1，现为 \2",
    r"(.+): expected more than zero": r"\1：应大于零",
    r"report_change (.+) is a share of the range, but the tag has no range": (
        r"report_change \1 是量程的百分比，但该测点没有量程"
    ),
    r"expected report_change above zero, found (.+)": r"report_change 应大于零，现为 \1",
    r"accepted_by and accepted_on belong together": r"accepted_by 与 accepted_on 须同时填写",
    r"site and scenario belong together": r"site 与 scenario 须同时给出",
    # site, console
    r"expected an IANA time zone, such as (.+)": r"应为 IANA 时区，例如 \1",
    r"expected host:port, such as (.+)": r"应为 主机:端口，例如 \1",
    r"expected an IP address or localhost before the port": r"端口前应为 IP 地址或 localhost",
    r"beyond loopback the console needs TLS, which this version does not have; expected (.+)": (
        r"控制台超出本机访问需要 TLS，本版本尚不支持；应为 \1"
    ),
    # Modbus
    r"expected a scale other than 0: every value would be the offset": r"scale 不能为 0：否则所有值都等于 offset",
    r"address (.+): expected (\S+) for the whole value": r"地址 \1：整个值应位于 \2 之内",
    r"address (.+): expected a number, or five or six digits such as (.+)": (
        r"地址 \1：应为数字，或五至六位传统写法，例如 \2"
    ),
    r"address (.+): expected 0xxxx \(coil\).+": (
        r"地址 \1：应为 0xxxx（coil）、1xxxx（discrete）、3xxxx（input）或 4xxxx（holding）"
    ),
    r"address (.+) means table (.+), found table (.+)": r"地址 \1 对应 table \2，现为 table \3",
    r"link kind (.+): this version has (.+)": r"链路类型 \1：本版本支持 \2",
    r"expected at least one tag in tags or tags_from": r"tags 或 tags_from 中至少应有一个测点",
    r"tag (.+) stands twice in device (.+)": r"测点 \1 在设备 \2 中重复",
    r"table (.+) holds bits: expected type bool, found (.+)": r"table \1 存放位值：类型应为 bool，现为 \2",
    r"type bit needs the key bit .+": r"类型 bit 需要且仅它需要键 bit（0..15）",
    r"type string needs the key length .+": r"类型 string 需要且仅它需要键 length（字节数）",
    r"order (.+) does not fit (.+): expected (.+)": r"字节序 \1 不适用于 \2：应为 \3",
    r"type (.+) takes no scale, offset or signal": r"类型 \1 不能有 scale、offset 或 signal",
    r"type string takes no range": r"类型 string 不能有量程",
    r"signal and span belong together: expected both or none": r"signal 与 span 必须同时给出或都不给出",
    r"expected two different values in span, found (.+)": r"span 应为两个不同的值，现为 \1",
    # OPC UA
    r"policy (.+) is not in this version, which has: (.+)": r"本版本不支持安全策略 \1，现有：\2",
    r"mode (.+) needs a policy, and this version has: (.+)": r"模式 \1 需要安全策略，本版本现有：\2",
    r"expected opc\.tcp://HOST:PORT .+, found (.+)": r"应为 opc.tcp://主机:端口（用户和密码写在 login 中），现为 \1",
    r"expected a node such as (.+) or (.+), found (.+)": r"应为节点，例如 \1 或 \2，现为 \3",
    r"retry (.+) is longer than retry_max (.+)": r"retry \1 长于 retry_max \2",
    # rules
    r"this version of Davy does not have this key; leave it out": r"本版本没有此键，请删除",
    r'expected a number >= 0 or a share of the range such as "1%"': r"应为不小于 0 的数，或量程的百分比，例如 \"1%\"",
    r"expected a number >= 0, found (.+)": r"应为不小于 0 的数，现为 \1",
    r"(.+) stands twice among the (members|tags)": r"\2 中 \1 重复",
    r"(k|n) is (\d+), but there are (\d+) members": r"\1 为 \2，但只有 \3 个成员",
    r"bad_vote healthy is refused for priority critical: .+": r"紧急报警不允许 bad_vote: healthy：坏传感器会掩盖报警",
    r"expected at least one tag in the expression": r"表达式中至少应有一个位号",
    # destinations
    r"expected http\(s\)://HOST\[:PORT\]": r"应为 http(s)://主机[:端口]",
    r"expected http\(s\)://HOST\[:PORT\] alone: .+": r"应仅为 http(s)://主机[:端口]：令牌写在单独的键中",
    r"expected mqtt://host\[:port\] or .+": r"应为 mqtt://主机[:端口] 或 mqtts://主机[:端口]；用户和密码写在单独的键中",
    r"MQTT 3\.1\.1 is not there yet in this version; expected auto or 5": r"本版本尚不支持 MQTT 3.1.1；应为 auto 或 5",
    r"(.+): only with mqtts:// \(url is (.+)\)": r"\1：仅用于 mqtts://（当前 url 为 \2）",
    r"certificate and private_key belong together": r"certificate 与 private_key 必须同时给出",
    r"password without user": r"有 password 但没有 user",
}
_PATTERNS: Final = [(re.compile(english, re.DOTALL), chinese) for english, chinese in _TABLE.items()]


def sentence(english: str) -> Text:
    """A validator's sentence in both languages; where the Chinese is not known, it is marked and left in English."""
    for pattern, chinese in _PATTERNS:
        match = pattern.fullmatch(english)
        if match is not None:
            return Text(english, match.expand(chinese))
    return Text(english, f"值无效：{english}")
