"""The records that a cost table is made of; `synth.table` puts them together."""
