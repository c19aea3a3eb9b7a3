"""Memories that begin as zeros, told to tools in one line instead of one a word.

Yosys takes minutes for the scratchpads of the default accelerator otherwise.
"""

import re

_INIT = re.compile(
    r"^  cell \$meminit_v2 \S+\n(?:    (?!connect \\DATA).*\n)*"
    r"    connect \\DATA \d+'0+\n(?:    .*\n)*  end\n",
    re.MULTILINE,
)
_MEMORY = re.compile(
    r"^  reg (?:\[\d+:0\] )?(\\\S+ |\w+) \[(\d+):0\];\n(?!  initial begin)", re.MULTILINE
)


def without_zeros(rtlil: str) -> str:
    """Take the zeros out of a design: its memories begin as anything."""
    return _INIT.sub("", rtlil)


def with_zeros(verilog: str) -> str:
    """Let memories that begin as anything begin as zeros."""

    def loop(match: re.Match[str]) -> str:
        memory, top = match.groups()
        index = f"zero_{match.start()}"
        return (
            f"{match.group()}  integer {index};\n"
            f"  initial for ({index} = 0; {index} <= {top}; {index} = {index} + 1)\n"
            f"    {memory}[{index}] = 0;\n"
        )

    return _MEMORY.sub(loop, verilog)
