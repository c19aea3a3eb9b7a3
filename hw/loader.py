"""Takes packets apart: checks descriptors, fills the scratchpads, hands layers on."""

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.check import DESCRIPTOR, Check
from hw.component import Component, structured
from hw.descriptor import DESCRIPTOR_BYTES, FLAGS, ErrorCode
from hw.layer import layer_layout
from hw.sections import ActSection, ParameterSection, Section, WeightSection


class Loader(Component):
    """Loads a layer while the one before it runs.

    Members
    -------
    start : In(1)
        Begin a run; ignored while busy.
    busy : Out(1)
    error, tag : Out(4), Out(16)
        Why the run ends early (`hw.descriptor.ErrorCode`), and the failing layer's tag (0 if its
        descriptor was cut short); they hold until the next start.
    complete : Out(1)
        The last layer, or an error's packet, was taken; the run ends when all layers have left.
    ended : In(1)
        They have.
    in_valid, in_ready, in_data, in_last
        Stream of packets.
    room : In(1)
        A layer may be loaded: at most one other is under way.
    push, layer : Out(1), Out(layer_layout(config))
        A layer is loaded.

    `parameters`, `weights` and `acts` are the sections, with the scratchpads' write ports.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.parameters = ParameterSection(config)
        self.weights = WeightSection(config)
        self.acts = ActSection(config)
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "error": Out(4),
                "tag": Out(16),
                "complete": Out(1),
                "ended": In(1),
                "in_valid": In(1),
                "in_ready": Out(1),
                "in_data": In(8 * config.bus_bytes),
                "in_last": In(1),
                "room": In(1),
                "push": Out(1),
                "layer": Out(layer_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters, weights, acts = self.parameters, self.weights, self.acts
        m.submodules.check = check = Check(self.config)
        m.submodules.parameters = parameters
        m.submodules.weights = weights
        m.submodules.acts = acts
        d = structured(DESCRIPTOR, name="descriptor", reset_less=True)
        beat = Signal(range(DESCRIPTOR_BYTES))
        cut = Signal()
        take = Signal()
        act_half = Signal()
        weight_half = Signal()
        keep_acts = d.flags[FLAGS.index("keep_acts")]
        keep_weights = d.flags[FLAGS.index("keep_weights")]
        for section in (parameters, weights, acts):
            m.d.comb += [section.beat.eq(self.in_data), section.layer.eq(check.layer)]
        m.d.comb += [
            check.descriptor.eq(d),
            take.eq(self.in_valid & self.in_ready),
            parameters.half.eq(weight_half),
            weights.half.eq(weight_half),
            weights.words.eq(parameters.words),
            acts.half.eq(act_half),
            acts.channel_tiles.eq(check.channel_tiles),
            self.layer.eq(check.layer),
            self.layer.words.eq(parameters.words),
            self.layer.act_half.eq(act_half),
            self.layer.weight_half.eq(weight_half),
        ]
        resident = self._resident(m, check, keep_acts, keep_weights)
        with m.If(take):
            m.d.sync += cut.eq(self.in_last)

        def fail(code: ErrorCode | Value, *, tag: Value | int = d.tag) -> None:
            m.d.sync += [self.error.eq(code), self.tag.eq(tag)]
            m.next = "drain"

        def receive(section: Section, then: str) -> None:
            """Give a section its beats."""
            m.d.comb += [self.in_ready.eq(~cut), section.take.eq(take)]
            with m.If(cut):
                fail(ErrorCode.SHORT)
            with m.Elif(section.last):
                m.next = then

        with m.FSM():
            with m.State("idle"), m.If(self.start):
                m.d.sync += [self.error.eq(ErrorCode.NONE), self.tag.eq(0), self.busy.eq(1)]
                m.next = "descriptor"
            with m.State("descriptor"):
                m.d.comb += self.in_ready.eq(1)
                with m.If(take):
                    m.d.sync += d.eq(Cat(d, self.in_data)[-DESCRIPTOR.size :])
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == DESCRIPTOR_BYTES // self.config.bus_bytes - 1):
                        m.d.sync += beat.eq(0)
                        m.next = "begin check"
                    with m.Elif(self.in_last):
                        m.d.sync += beat.eq(0)
                        fail(ErrorCode.SHORT, tag=0)
            with m.State("begin check"):
                m.d.comb += check.start.eq(1)
                m.next = "check"
            with m.State("check"), m.If(check.done):
                m.next = "checked"
            with m.State("checked"):
                with m.If(check.error != ErrorCode.NONE):
                    fail(check.error)
                with m.Elif(~resident):
                    fail(ErrorCode.RESIDENT)
                with m.Elif(self.room):
                    m.next = "push"
                    with m.If(~keep_acts):
                        m.d.comb += acts.clear.eq(1)
                        m.d.sync += act_half.eq(~act_half)
                        m.next = "acts"
                    with m.If(~keep_weights):
                        m.d.comb += [parameters.clear.eq(1), weights.clear.eq(1)]
                        m.d.sync += weight_half.eq(~weight_half)
                        m.next = "parameters"
            with m.State("parameters"):
                receive(parameters, "weights")
                with m.If(parameters.bad_planes):
                    fail(ErrorCode.MODE)
            with m.State("weights"):
                with m.If(parameters.words > self.config.weight_words):
                    fail(ErrorCode.WEIGHT_SPACE)
                with m.Elif(keep_acts):
                    receive(weights, "push")
                with m.Else():
                    receive(weights, "acts")
            with m.State("acts"):
                receive(acts, "push")
            with m.State("push"):
                with m.If(~cut):
                    fail(ErrorCode.LONG)
                with m.Else():
                    m.d.comb += self.push.eq(1)
                    m.next = "descriptor"
                    with m.If(check.layer.last):
                        m.next = "complete"
            with m.State("drain"):
                m.d.comb += self.in_ready.eq(~cut)
                with m.If(cut):
                    m.next = "complete"
            with m.State("complete"):
                m.d.comb += self.complete.eq(1)
                with m.If(self.ended):
                    m.d.sync += self.busy.eq(0)
                    m.next = "idle"
        return m

    def _resident(self, m: Module, check: Check, keep_acts: Value, keep_weights: Value) -> Value:
        """Whether what the layer keeps was loaded, and has the size that the layer needs."""
        acts = ("in_h", "in_w")
        weights = ("mode", "chunks", "tiles")
        fields = layer_layout(self.config).members
        kept = data.StructLayout({name: fields[name] for name in (*acts, *weights)})
        held = structured(kept, name="held")
        channel_tiles = Signal(16)
        have = Signal()
        with m.If(self.push):
            m.d.sync += [held[name].eq(check.layer[name]) for name in (*acts, *weights)]
            m.d.sync += [channel_tiles.eq(check.channel_tiles), have.eq(1)]
        with m.If(self.error != ErrorCode.NONE):
            m.d.sync += have.eq(0)
        same_acts = Cat(*[held[name] == check.layer[name] for name in acts]).all()
        same_acts &= channel_tiles == check.channel_tiles
        same_weights = Cat(*[held[name] == check.layer[name] for name in weights]).all()
        fits: Value = (same_acts | ~keep_acts) & (same_weights | ~keep_weights)
        return fits & (have | ~(keep_acts | keep_weights))
