"""Every way to choose bits, ours and others', through one backend, on the shipped networks."""
