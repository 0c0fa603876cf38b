"""io.btfd: how programs talk to the service. The interface is documented in `io.btfd.varlink`."""
