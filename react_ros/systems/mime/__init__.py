"""The mime baseline: the speaker's own face, optionally delayed."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.mime.config import MimeConfig

SYSTEM = System(
    "mime",
    MimeConfig,
    generator="react_ros.systems.mime.generator:Mime",
    kind="baseline",
    rows=("mime", "mime,delay_frames=9"),
    contract=ContractCases(parameters=({"delay_frames": 12},), expressions_sum_to_1=False),
)
