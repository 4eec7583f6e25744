package ignoredreader

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
)

// tlsMessage says where crypto/tls still reads Config.Rand. With cryptocustomrand=1
// ECDHE reads it too, but a server's ML-KEM secret never does, nor, from Go 1.27
// on, a client's.
const tlsMessage = "tls.Config.Rand hardly reaches a key since Go 1.26: bytes of it go into nonces, session tickets and RSA key transport, " +
	"but none into an ECDHE key share, an ECDSA signature or (but for a client's in Go 1.26) an ML-KEM secret; Go 1.27 deprecates it: " +
	"leave it nil, and in tests call testing/cryptotest.SetGlobalRandom"

// config judges a reader set as tls.Config.Rand by the node n.
func (c *checker) config(n ast.Node, reader ast.Expr) []finding {
	if c.isRandReader(reader) || isConfigRand(variable(c.pass.TypesInfo, reader)) {
		return nil // of a Config that is copied, this is said where it was set
	}
	return []finding{{Diagnostic: analysis.Diagnostic{Pos: n.Pos(), End: n.End(), Message: tlsMessage}}}
}

// isConfigRand reports whether the object is the field Rand of tls.Config, also
// as a field of a type that is declared as tls.Config.
func isConfigRand(obj types.Object) bool {
	v, ok := obj.(*types.Var)
	if !ok || v == nil || !v.IsField() || v.Name() != "Rand" || v.Pkg() == nil || v.Pkg().Path() != "crypto/tls" {
		return false
	}
	config := v.Pkg().Scope().Lookup("Config")
	if config == nil {
		return false
	}
	fields, ok := config.Type().Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for field := range fields.Fields() {
		if field == v {
			return true
		}
	}
	return false
}
