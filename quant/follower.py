"""What the other processes of torchrun do: train along with process 0, which searches."""

from __future__ import annotations

import signal

from quant.launch import LostProcessError
from quant.quant_network import QuantNetwork
from quant.team import Team
from quant.threads import one_thread
from quant.workbench import Source, Work, Workbench


def follow() -> None:
    """Train with process 0 until it is done or gone; nothing is printed or written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # process 0 answers Ctrl-C
    one_thread()
    with Team.of_environment() as team:
        source = team.hear()
        if not isinstance(source, Source):
            return
        bench = Workbench(source, team=team)
        while isinstance(work := team.hear(), Work):
            quantised = QuantNetwork(bench.network, work.snapshot.bits)
            quantised.restore(work.snapshot)
            try:
                bench.train_along(quantised.to(bench.device), work.settings)
            except LostProcessError:
                return
