// Package loopback tells whether a host is this one, by a name or address that
// never leaves it.
package loopback

import "net"

// Is reports whether host, which has no port, is localhost or a loopback address.
func Is(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
