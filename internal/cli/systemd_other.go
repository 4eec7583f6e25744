//go:build !linux

package cli

// Ready does nothing: there is no systemd.
func Ready() error { return nil }
