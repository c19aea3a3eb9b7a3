// One layer on the accelerator from its memory images, without Python:
//   iverilog -g2012 -Ptb.PARAMETERS=64 ... memory_images_tb.v accelerator.v && vvp a.out
// Depths and widths are those of memory.json; the activations and results are the test's own.
`timescale 1ns / 1ps
module tb;
  parameter BUS = 32;          // bus_bits
  parameter PARAMETERS = 1;    // depth of the parameters
  parameter WEIGHTS = 1;       // depth of the weights
  parameter WORD = 64;         // width of the weights
  parameter ACTS = 1;          // beats of activations
  parameter RESULTS = 1;       // beats that come back

  reg [255:0] descriptor[0:0];
  reg [63:0] parameters[0:PARAMETERS-1];
  reg [WORD-1:0] weights[0:WEIGHTS-1];
  reg [BUS-1:0] acts[0:ACTS-1];
  reg [BUS-1:0] results[0:RESULTS-1];

  reg clk = 0, rst = 1;
  always #5 clk = !clk;

  reg [7:0] awaddr = 0;
  reg awvalid = 0, wvalid = 0;
  reg [31:0] wdata = 0;
  wire awready, wready, tready, out_valid, out_last;
  reg [BUS-1:0] tdata = 0;
  reg tvalid = 0, tlast = 0;
  wire [BUS-1:0] out_data;

  accelerator dut (
    .clk(clk), .rst(rst), .irq(),
    .s_axil_awaddr(awaddr), .s_axil_awprot(3'd0), .s_axil_awvalid(awvalid),
    .s_axil_awready(awready), .s_axil_wdata(wdata), .s_axil_wstrb(4'hf),
    .s_axil_wvalid(wvalid), .s_axil_wready(wready), .s_axil_bresp(), .s_axil_bvalid(),
    .s_axil_bready(1'b1), .s_axil_araddr(8'd0), .s_axil_arprot(3'd0), .s_axil_arvalid(1'b0),
    .s_axil_arready(), .s_axil_rdata(), .s_axil_rresp(), .s_axil_rvalid(), .s_axil_rready(1'b1),
    .s_axis_tdata(tdata), .s_axis_tvalid(tvalid), .s_axis_tlast(tlast), .s_axis_tready(tready),
    .m_axis_tdata(out_data), .m_axis_tvalid(out_valid), .m_axis_tlast(out_last),
    .m_axis_tready(1'b1)
  );

  // Signals change after the edge, so that every simulator samples the same
  task send(input [BUS-1:0] beat, input last);
    begin
      tdata = beat; tvalid = 1; tlast = last;
      @(posedge clk);
      while (!tready) @(posedge clk);
      #1 tvalid = 0;
    end
  endtask

  integer i, j, count = 0;
  always @(posedge clk)
    if (out_valid && !rst) begin
      results[count] = out_data;
      count = count + 1;
      if (out_last) begin
        $writememh("results.memh", results);
        $finish;
      end
    end

  initial begin
    $readmemh("descriptor.memh", descriptor);
    $readmemh("parameters.memh", parameters);
    $readmemh("weights.memh", weights);
    $readmemh("acts.memh", acts);
    repeat (4) @(posedge clk);
    #1 rst = 0;
    awaddr = 8'h20; wdata = 1; awvalid = 1; wvalid = 1;  // CONTROL.start
    fork
      begin @(posedge clk); while (!awready) @(posedge clk); #1 awvalid = 0; end
      begin @(posedge clk); while (!wready) @(posedge clk); #1 wvalid = 0; end
    join
    for (j = 0; j < 256; j = j + BUS) send(descriptor[0][j+:BUS], 0);
    for (i = 0; i < PARAMETERS; i = i + 1)
      for (j = 0; j < 64; j = j + BUS) send(parameters[i][j+:BUS], 0);
    for (i = 0; i < WEIGHTS; i = i + 1)
      for (j = 0; j < WORD; j = j + BUS) send(weights[i][j+:BUS], 0);
    for (i = 0; i < ACTS; i = i + 1) send(acts[i], i == ACTS - 1);
    #400000 $display("no results");
    $finish;
  end
endmodule
