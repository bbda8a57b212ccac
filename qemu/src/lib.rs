//! QEMU machines: start, serial capture, QMP, port forwarding
