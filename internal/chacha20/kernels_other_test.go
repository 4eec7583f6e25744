//go:build !amd64 || purego

package chacha20

var kernels = []kernel{{"x/crypto", true, stream}}
