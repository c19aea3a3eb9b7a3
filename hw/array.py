"""The MAC array: rows x cols PEs, operand registers at two edges, one control."""

from amaranth import Cat, Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig
from hw.control import TILE, Control
from hw.edge import ActEdge, WeightEdge, weight_word
from hw.pe import GATEWARE, make_pe
from hw.pe.signature import act_layout
from hw.precision import WeightMode


def psum_layout(config: ArrayConfig) -> data.StructLayout:
    """Results of a cycle: index `row`, and sums of rows ``row + i * rows // drain_rows`` by column.

    ``sums[col][i]`` is the sum of the i-th of these rows.
    """
    column = data.ArrayLayout(signed(config.acc_bits), config.drain_rows)
    return data.StructLayout(
        {"row": range(config.drain_cycles), "sums": data.ArrayLayout(column, config.cols)}
    )


class MacArray(Component):
    """Output-stationary array: a tile gives rows x cols dot products.

    Row ``r`` works on activation vector ``r``, column ``c`` on weight vector ``c``. `acts` brings
    a chunk of activations for every row, `weights` the chunk's weights for every column, digit by
    digit on serial kinds, lowest digit first. Weight mode and number of chunks come with each
    tile. `ArrayConfig.chunk_depth` and `ArrayConfig.weight_items` say how much is in an item.

    Members
    -------
    tiles : In(stream of TILE)
    acts : In(stream of ArrayLayout(act_layout(config), rows))
        One item a chunk, of which the first `chunk_depth(mode)` fields count.
    weights : In(stream of ArrayLayout(weight_word(config), cols))
        `weight_items(mode)` a chunk.
    room : In(1)
        The consumer can take the results of one more tile; the place is spent when the tile is
        taken, some cycles before its results arrive.
    psums : Out({valid, payload: psum_layout(config)})
        `drain_rows` rows a cycle, never held back: see `room`.

    `hw.schedule.layer_schedule` gives the exact cycles.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.control = Control(config)
        self.act_edges = [ActEdge(config) for _ in range(config.rows)]
        self.weight_edges = [WeightEdge(config) for _ in range(config.cols)]
        self.pes = [[make_pe(config) for _ in range(config.cols)] for _ in range(config.rows)]
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
        config, control, mode = self.config, self.control, self.tiles.payload.mode
        one_word = config.weight_items(WeightMode.W8) == 1
        m.submodules.control = control
        m.d.comb += [
            control.tile.payload.eq(self.tiles.payload),
            control.tile.valid.eq(self.tiles.valid),
            self.tiles.ready.eq(control.tile.ready),
            control.weight_valid.eq(self.weights.valid),
            self.weights.ready.eq(control.step & control.first if one_word else control.step),
            control.act_valid.eq(self.acts.valid),
            self.acts.ready.eq(control.step & control.first),
            control.room.eq(self.room),
            self.psums.valid.eq(control.psum_valid),
            self.psums.payload.row.eq(control.psum_row),
        ]
        for row, act_edge in enumerate(self.act_edges):
            m.submodules[f"act_edge_{row}"] = act_edge
            m.d.comb += [
                act_edge.load.eq(control.step & control.first),
                act_edge.mode.eq(mode),
                act_edge.act.eq(self.acts.payload[row]),
                act_edge.control.eq(control.control),
            ]
        for col, weight_edge in enumerate(self.weight_edges):
            m.submodules[f"weight_edge_{col}"] = weight_edge
            m.d.comb += [
                weight_edge.step.eq(control.step),
                weight_edge.first.eq(control.first),
                weight_edge.last.eq(control.last),
                weight_edge.mode.eq(mode),
                weight_edge.word.eq(self.weights.payload[col]),
                weight_edge.control.eq(control.control),
                self.psums.payload.sums[col].eq(weight_edge.psum),
            ]
            for index in range(config.drain_rows):
                end = self.pes[index * config.drain_cycles][col]
                m.d.comb += weight_edge.chain[index].eq(end.chain_out)
        if config.pe.traits.skips_zeros:
            left = [weight_edge.left for weight_edge in self.weight_edges]
            m.d.comb += control.left.eq(Cat(*left).any())
        for row in range(config.rows):
            for col in range(config.cols):
                pe = self.pes[row][col]
                m.submodules[f"pe_{row}_{col}"] = pe
                m.d.comb += [
                    pe.act.eq(self.act_edges[row].out),
                    pe.weight.eq(self.weight_edges[col].out),
                    pe.control.eq(self.act_edges[row].control_out),
                ]
                if (row + 1) % config.drain_cycles:
                    m.d.comb += pe.chain_in.eq(self.pes[row + 1][col].chain_out)
        if GATEWARE[config.pe].row_excess:
            self._row_excess(m)
        return m

    def _row_excess(self, m: Module) -> None:
        """Chain the rows' excesses as their results are chained, to the end of every column."""
        config = self.config
        for row in range(config.rows):
            if (row + 1) % config.drain_cycles:
                m.d.comb += self.act_edges[row].chain_in.eq(self.act_edges[row + 1].chain_out)
        for weight_edge in self.weight_edges:
            for index in range(config.drain_rows):
                end = self.act_edges[index * config.drain_cycles]
                m.d.comb += weight_edge.row_excess[index].eq(end.chain_out)
