"""The MAC array: rows x cols PEs, operand registers at two edges, one control."""

from amaranth import Module, Shape
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig
from hw.control import TILE, Control
from hw.edge import ActEdge, WeightEdge, weight_word
from hw.pe import make_pe
from hw.pe.signature import act_layout


def psum_layout(config: ArrayConfig) -> data.StructLayout:
    """One row of results: the row's index and `cols` sums."""
    return data.StructLayout(
        {
            "row": range(config.rows),
            "sums": data.ArrayLayout(Shape(config.acc_bits, signed=True), config.cols),
        }
    )


class MacArray(Component):
    """Output-stationary array: a tile gives rows x cols dot products.

    Row ``r`` works on activation vector ``r``, column ``c`` on weight vector ``c``. `acts` brings
    a chunk of `lanes` activations for every row, `weights` the digits of `lanes` weights for every
    column, lowest digit first. Weight mode and number of chunks come with each tile.

    Members
    -------
    tiles : In(stream of TILE)
    acts : In(stream of ArrayLayout(act_layout(config), rows))
        One item a chunk.
    weights : In(stream of ArrayLayout(weight_word(config), cols))
        One item a step.
    room : In(1)
        The consumer can take the `rows` results of one more tile.
    psums : Out({valid, payload: psum_layout(config)})
        Row 0 first, one row a cycle, never held back: see `room`.

    `hw.schedule.layer_schedule` gives the exact cycles.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(
            {
                "tiles": In(stream.Signature(TILE)),
                "acts": In(stream.Signature(data.ArrayLayout(act_layout(config), config.rows))),
                "weights": In(stream.Signature(data.ArrayLayout(weight_word(config), config.cols))),
                "room": In(1),
                "psums": Out(
                    wiring.Signature({"valid": Out(1), "payload": Out(psum_layout(config))})
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.control = control = Control(config)
        m.d.comb += [
            control.tile.payload.eq(self.tiles.payload),
            control.tile.valid.eq(self.tiles.valid),
            self.tiles.ready.eq(control.tile.ready),
            control.weight_valid.eq(self.weights.valid),
            self.weights.ready.eq(control.step),
            control.act_valid.eq(self.acts.valid),
            self.acts.ready.eq(control.step & control.first),
            control.room.eq(self.room),
            self.psums.valid.eq(control.psum_valid),
            self.psums.payload.row.eq(control.psum_row),
        ]
        pes = [[make_pe(config) for _ in range(config.cols)] for _ in range(config.rows)]
        for col in range(config.cols):
            m.submodules[f"weight_edge_{col}"] = edge = WeightEdge(config)
            m.d.comb += [
                edge.step.eq(control.step),
                edge.first.eq(control.first),
                edge.word.eq(self.weights.payload[col]),
                edge.control.eq(control.control),
                edge.chain.eq(pes[0][col].chain_out),
                self.psums.payload.sums[col].eq(edge.psum),
            ]
            for row in range(config.rows):
                m.d.comb += pes[row][col].weight.eq(edge.out)
        for row in range(config.rows):
            m.submodules[f"act_edge_{row}"] = held = ActEdge(config)
            m.d.comb += [
                held.load.eq(control.step & control.first),
                held.act.eq(self.acts.payload[row]),
                held.control.eq(control.control),
            ]
            for col in range(config.cols):
                pe = pes[row][col]
                m.submodules[f"pe_{row}_{col}"] = pe
                m.d.comb += [pe.act.eq(held.out), pe.control.eq(held.control_out)]
                if row + 1 < config.rows:
                    m.d.comb += pe.chain_in.eq(pes[row + 1][col].chain_out)
        return m
