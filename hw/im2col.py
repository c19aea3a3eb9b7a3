"""Im2col addressing: feature maps in banks to patches, the activations of a tile of pixels.

Pixel ``p`` (in raster order) lies in bank ``p % rows``, so the pixels under one tap of the kernel
for a tile of `rows` neighbouring outputs lie in different banks, unless the stride or the end of a
line brings two of them together; these are read one after the other.
"""

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.component import Component, structured
from hw.layer import COUNT_BITS, layer_layout, pixel_bits
from hw.precision import WeightMode

COORDINATE = signed(26)
"""Of an input pixel; outputs beyond the last one may lie far outside of the map."""

PATCHES = 2
"""Patches that the buffer holds: one being read, one being written."""


class Im2col(Component):
    """Reads the feature map once for every tap of the kernel, `rows` pixels at a time.

    A request takes a piece of the channels, one cycle unless banks conflict; its data are written
    to the patch buffer three cycles later. Pixels outside of the map read as the zero point.

    Members
    -------
    layer_valid : In(1)
    layer : In(layer_layout(config))
    finish : Out(1)
        All requests of the layer were made.
    bank_enable, bank_address, bank_data : Out(1), Out, In; one of each a bank
        Read ports; data a cycle after the address.
    address : Out(range(2 * patch_chunks))
        Word of the patch buffer that is written in all rows.
    lanes : Out(lanes)
        Lanes that are written.
    rows : Out(rows)
        Rows that are written.
    words : Out(lanes activations), one a row
    patch_done : Out(1)
        This cycle's write completes a patch.
    patch_freed : In(1)
        A patch was read for the last time.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        array = config.array
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "finish": Out(1),
                "bank_enable": Out(1).array(array.rows),
                "bank_address": Out(range(2 * config.act_words)).array(array.rows),
                "bank_data": In(config.bank_channels * array.act_bits).array(array.rows),
                "address": Out(range(PATCHES * config.patch_chunks)),
                "lanes": Out(array.lanes),
                "rows": Out(array.rows),
                "words": Out(array.lanes * array.act_bits).array(array.rows),
                "patch_done": Out(1),
                "patch_freed": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ready, accept = Signal(), Signal()
        tap = self._taps(m, accept=accept, ready=ready)
        request = self._requests(m, tap, accept=accept, ready=ready)
        self._writes(m, request)
        return m

    def _taps(self, m: Module, *, accept: Signal, ready: Signal) -> "data.View[data.StructLayout]":
        """Walk through pixel tiles, groups and taps; give the pixels under the current tap."""
        rows, layer = self.config.array.rows, self.layer
        tap = structured(self._tap_layout(), name="tap")
        tile = Signal(COUNT_BITS)
        group = Signal(16)
        tap_y = Signal(8)
        tap_x = Signal(8)
        tap_row = Signal(pixel_bits(self.config))
        free = Signal(range(PATCHES + 1), init=PATCHES)
        last_tile, last_tap, last_group = Signal(), Signal(), Signal()
        placed, positions = self._positions(m, advance=accept & last_tap & last_group)
        m.d.comb += [
            last_tile.eq(tile == layer.pixel_tiles - 1),
            last_tap.eq((tap_x == layer.kernel_w - 1) & (tap_y == layer.kernel_h - 1)),
            last_group.eq(group == layer.groups - 1),
            tap.first.eq((tap_x == 0) & (tap_y == 0)),
            tap.first_group.eq(group == 0),
            tap.last.eq(last_tap),
            accept.eq(self.layer_valid & placed & ready & (~tap.first | (free != 0))),
            self.finish.eq(accept & last_tap & last_group & last_tile),
        ]
        for row in range(rows):
            x, y = positions[row].x + tap_x, positions[row].y + tap_y
            inside = (x >= 0) & (x < layer.in_w) & (y >= 0) & (y < layer.in_h)
            live = ~last_tile | (layer.tail == 0) | (row < layer.tail)
            m.d.comb += [
                tap.pixels[row].eq(positions[row].pixel + tap_row + tap_x),
                tap.inside[row].eq(inside & live),
            ]
        m.d.sync += free.eq(free + self.patch_freed - (accept & tap.first))
        with m.If(accept):
            m.d.sync += tap_x.eq(tap_x + 1)
            with m.If(tap_x == layer.kernel_w - 1):
                m.d.sync += [tap_x.eq(0), tap_y.eq(tap_y + 1), tap_row.eq(tap_row + layer.in_w)]
            with m.If(last_tap):
                m.d.sync += [tap_y.eq(0), tap_row.eq(0), group.eq(group + 1)]
                with m.If(last_group):
                    m.d.sync += [group.eq(0), tile.eq(Mux(last_tile, 0, tile + 1))]
        return tap

    def _tap_layout(self) -> data.StructLayout:
        rows = self.config.array.rows
        return data.StructLayout(
            {
                "first": 1,
                "first_group": 1,
                "last": 1,
                "inside": rows,
                "pixels": data.ArrayLayout(pixel_bits(self.config), rows),
            }
        )

    def _positions(
        self, m: Module, *, advance: Value
    ) -> tuple[Signal, "list[data.View[data.StructLayout]]"]:
        """Input position of every row's output, in registers that step from tile to tile.

        A walk over the first `rows` + 1 outputs places the rows and finds the step.
        """
        layer, rows = self.layer, self.config.array.rows
        bits = pixel_bits(self.config)
        layout = data.StructLayout({"out_x": 17, "x": COORDINATE, "y": COORDINATE, "pixel": bits})
        positions = [structured(layout, name=f"position_{r}", reset_less=True) for r in range(rows)]
        cursor, here, step = (structured(layout, name=n) for n in ("cursor", "here", "step"))
        placed = Signal()
        walk = Signal(range(rows + 1))
        m.d.comb += here.eq(cursor)
        with m.If(walk == 0):
            m.d.comb += [
                here.out_x.eq(0),
                here.x.eq(-layer.pad_left),
                here.y.eq(-layer.pad_top),
                here.pixel.eq(layer.origin),
            ]
        line_end = here.out_x + 1 == layer.out_w
        with m.If(self.layer_valid & ~placed):
            m.d.sync += [
                walk.eq(walk + 1),
                cursor.out_x.eq(Mux(line_end, 0, here.out_x + 1)),
                cursor.x.eq(Mux(line_end, -layer.pad_left, here.x + layer.stride)),
                cursor.y.eq(here.y + Mux(line_end, layer.stride, 0)),
                cursor.pixel.eq(
                    here.pixel + layer.stride + Mux(line_end, layer.row_step - layer.row_span, 0)
                ),
            ]
            for row in range(rows):
                with m.If(walk == row):
                    m.d.sync += positions[row].eq(here)
            with m.If(walk == rows):
                m.d.sync += [
                    walk.eq(0),
                    placed.eq(1),
                    step.out_x.eq(here.out_x),
                    step.x.eq(here.x + layer.pad_left),
                    step.y.eq(here.y + layer.pad_top),
                    step.pixel.eq(here.pixel - layer.origin),
                ]
        with m.If(self.finish):
            m.d.sync += placed.eq(0)
        with m.If(advance):
            for position in positions:
                out_x = position.out_x + step.out_x
                wraps = out_x >= layer.out_w
                m.d.sync += [
                    position.out_x.eq(Mux(wraps, out_x - layer.out_w, out_x)),
                    position.x.eq(position.x + step.x - Mux(wraps, layer.row_span, 0)),
                    position.y.eq(position.y + step.y + Mux(wraps, layer.stride, 0)),
                    position.pixel.eq(
                        position.pixel + step.pixel + Mux(wraps, layer.row_step - layer.row_span, 0)
                    ),
                ]
        return placed, positions

    def _requests(
        self,
        m: Module,
        tap: "data.View[data.StructLayout]",
        *,
        accept: Signal,
        ready: Signal,
    ) -> "data.View[data.StructLayout]":
        """Read the channels under a tap, piece by piece; give the request in this cycle."""
        config, layer = self.config, self.layer
        array, rows = config.array, config.array.rows
        row_bits = (rows - 1).bit_length()
        held = structured(self._tap_layout(), name="held", reset_less=True)
        fields = ("piece_log2", "in_zero_point", "act_half", "plane", "mode", "group_channels")
        members = layer_layout(config).members
        mine = structured(
            data.StructLayout({f: members[f] for f in fields}), name="mine", reset_less=True
        )
        request = structured(self._request_layout(), name="request")
        busy = Signal()
        half = Signal()
        place = data.StructLayout(
            {"channel": range(config.bank_channels), "base": range(config.act_words)}
        )
        here, start, after = (structured(place, name=n) for n in ("at", "start", "after"))
        pending = Signal(rows)
        piece = Signal(16)
        lane = Signal(range(array.lanes))
        chunk = Signal(range(config.patch_chunks))

        size = Const(1, 8) << mine.piece_log2
        granted = self._grant(m, pending, [held.pixels[r][:row_bits] for r in range(rows)])
        piece_done, tap_done = Signal(), Signal()
        channel_end = (here.channel + size)[: len(here.channel) + 1] == config.bank_channels
        m.d.comb += [
            after.channel.eq(Mux(channel_end, 0, here.channel + size)),
            after.base.eq(here.base + Mux(channel_end, mine.plane, 0)),
            piece_done.eq(busy & ((pending & ~granted) == 0)),
            tap_done.eq(piece_done & (piece + 1 == mine.group_channels >> mine.piece_log2)),
            ready.eq(~busy | tap_done),
            request.rows.eq(Mux(busy, granted | ~held.inside, 0)),
            request.inside.eq(held.inside),
            request.channel.eq(here.channel),
            request.piece_log2.eq(mine.piece_log2),
            request.zero_point.eq(mine.in_zero_point),
            request.lane.eq(lane),
            request.address.eq(Mux(half, config.patch_chunks, 0) + chunk),
            request.done.eq(tap_done & held.last),
        ]
        for row in range(rows):
            m.d.comb += request.bank[row].eq(held.pixels[row][:row_bits])
        base = Mux(mine.act_half, config.act_words, 0) + here.base
        for bank in range(rows):
            word: Value = Const(0)
            for row in range(rows):
                hit = granted[row] & (held.pixels[row][:row_bits] == bank)
                index = held.pixels[row][row_bits:]
                word = word | (index & hit.replicate(len(index)))
                with m.If(hit & busy):
                    m.d.comb += self.bank_enable[bank].eq(1)
            m.d.comb += self.bank_address[bank].eq(base + word)

        m.d.sync += pending.eq(pending & ~granted)
        with m.If(piece_done):
            m.d.sync += [piece.eq(piece + 1), pending.eq(held.inside), here.eq(after)]
            with m.Switch(mine.mode):
                for mode in WeightMode:
                    with m.Case(mode.digits - 1):
                        end = lane + size == array.chunk_depth(mode)
                        m.d.sync += [
                            lane.eq(Mux(end, 0, lane + size)),
                            chunk.eq(chunk + end),
                        ]
        with m.If(tap_done):
            m.d.sync += busy.eq(0)
        with m.If(accept):
            m.d.sync += [busy.eq(1), held.eq(tap), pending.eq(tap.inside), piece.eq(0)]
            m.d.sync += [mine[field].eq(layer[field]) for field in fields]
            behind = Mux(tap_done, after.as_value(), here.as_value())
            with m.If(tap.first):
                # the next group begins behind the last one, the next tile at the first channel
                begin = Mux(tap.first_group, 0, behind)
                m.d.sync += [
                    start.as_value().eq(begin),
                    here.as_value().eq(begin),
                    lane.eq(0),
                    chunk.eq(0),
                ]
            with m.Else():
                m.d.sync += here.eq(start)
        with m.If(request.done):
            m.d.sync += half.eq(~half)
        return request

    def _request_layout(self) -> data.StructLayout:
        config, array = self.config, self.config.array
        return data.StructLayout(
            {
                "rows": array.rows,
                "inside": array.rows,
                "bank": data.ArrayLayout(range(array.rows), array.rows),
                "channel": range(config.bank_channels),
                "piece_log2": 3,
                "zero_point": array.act_bits,
                "lane": range(array.lanes),
                "address": range(PATCHES * config.patch_chunks),
                "done": 1,
            }
        )

    @staticmethod
    def _grant(m: Module, pending: Signal, banks: list[Value]) -> Signal:
        """Of the rows that want the same bank, grant the lowest."""
        granted = Signal(len(pending))
        for row, bank in enumerate(banks):
            taken = [pending[q] & (banks[q] == bank) for q in range(row)]
            m.d.comb += granted[row].eq(pending[row] & ~Cat(*taken).any())
        return granted

    def _writes(self, m: Module, request: "data.View[data.StructLayout]") -> None:
        """Two cycles from a request: its words, turned and repeated to all lanes."""
        config, array = self.config, self.config.array
        width, channels = array.act_bits, config.bank_channels
        read = structured(request.shape(), name="read")
        write = structured(request.shape(), name="write")
        m.d.sync += [read.eq(request), write.eq(read)]
        m.d.comb += [
            self.address.eq(write.address),
            self.rows.eq(write.rows),
            self.patch_done.eq(write.done),
        ]
        for row in range(array.rows):
            word = Signal(channels * width, name=f"word_{row}", reset_less=True)
            with m.Switch(read.bank[row]):
                for bank in range(array.rows):
                    with m.Case(bank):
                        m.d.sync += word.eq(self.bank_data[bank])
            with m.If(~read.inside[row]):
                m.d.sync += word.eq(read.zero_point.replicate(channels))
            turned = word
            for bit in range((channels - 1).bit_length()):
                # a slice: Amaranth takes minutes over shifts of words, and so may other tools
                further = Signal(channels * width, name=f"turned_{row}_{bit}")
                m.d.comb += further.eq(Mux(write.channel[bit], turned[width << bit :], turned))
                turned = further
            with m.Switch(write.piece_log2):
                for log2 in range((config.largest_piece - 1).bit_length() + 1):
                    with m.Case(log2):
                        piece = turned[: width << log2]
                        m.d.comb += self.words[row].eq(piece.replicate(array.lanes >> log2))
        with m.Switch(write.piece_log2):
            for log2 in range((config.largest_piece - 1).bit_length() + 1):
                with m.Case(log2):
                    for lane in range(array.lanes):
                        m.d.comb += self.lanes[lane].eq(write.lane >> log2 == lane >> log2)
