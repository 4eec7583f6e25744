// Package ignoredreader reports readers that are passed to the standard library
// and that the standard library does not read.
//
// Most people want the command, example.com/qrand/cmd/qrandvet, whose
// documentation says what is reported and why. This package is for those who
// put [Analyzer] into a tool of their own; such a tool should also show
// [Settings] to whatever caches its results.
package ignoredreader

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// Analyzer reports calls that pass a reader other than crypto/rand.Reader to a
// function that ignores it, and readers set as tls.Config.Rand.
var Analyzer = &analysis.Analyzer{
	Name: "ignoredreader",
	Doc: `report readers that the standard library ignores since Go 1.26

Where the main module's go line is 1.26 or later, and no godebug line says
cryptocustomrand=1, ecdsa.GenerateKey, ecdh.Curve.GenerateKey, rsa.GenerateKey,
rand.Prime, ECDSA signatures and some more take a reader and do not read it.
A key made from a reader that was passed for a reason then has nothing of it.
The suggested fixes call example.com/qrand/keygen, which reads the reader.

A comment //qrandvet:ignore REASON at the end of the line, or alone on the line
before, keeps a report quiet.`,
	Run: run,
}

// A finding is a diagnostic that may yet be unwanted.
type finding struct {
	analysis.Diagnostic
	fix func() []analysis.SuggestedFix // nil: none
}

type checker struct {
	pass   *analysis.Pass
	values *values
}

func run(pass *analysis.Pass) (any, error) {
	c := &checker{pass, newValues(pass)}
	for _, file := range pass.Files {
		findings := c.findings(file)
		exempt, bare, err := exemptions(pass, file)
		if err != nil {
			return nil, err
		}
		if len(findings) == 0 && len(bare) == 0 {
			continue
		}
		s, err := settingOf(pass, file)
		if err != nil {
			return nil, err
		}
		if !s.ignoresReaders() {
			continue
		}
		for _, comment := range bare {
			pass.Report(analysis.Diagnostic{
				Pos: comment.Pos(), End: comment.End(),
				Message: directive + " needs a reason, and does nothing without one: write " + directive + " REASON",
			})
		}
		for _, f := range findings {
			if exempt[pass.Fset.PositionFor(f.Pos, false).Line] {
				continue
			}
			if f.fix != nil {
				f.SuggestedFixes = f.fix()
			}
			pass.Report(f.Diagnostic)
		}
	}
	return nil, nil
}

// findings are what there is to report if readers are ignored.
func (c *checker) findings(file *ast.File) (found []finding) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := c.call(file, n); ok {
				found = append(found, f)
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && isConfigRand(c.pass.TypesInfo.Uses[key]) {
				found = append(found, c.config(n, n.Value)...)
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if len(n.Lhs) == len(n.Rhs) && isConfigRand(variable(c.pass.TypesInfo, left)) {
					found = append(found, c.config(n, n.Rhs[i])...)
				}
			}
		}
		return true
	})
	return found
}

// call judges a call by what its function is, not by how that is written.
func (c *checker) call(file *ast.File, call *ast.CallExpr) (finding, bool) {
	fn, ok := typeutil.Callee(c.pass.TypesInfo, call).(*types.Func)
	if !ok {
		return finding{}, false
	}
	f, ok := functions[fn.FullName()]
	if !ok {
		return finding{}, false
	}
	args := call.Args
	var receiver ast.Expr
	if sel, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok {
		switch s := c.pass.TypesInfo.Selections[sel]; {
		case s != nil && s.Kind() == types.MethodExpr:
			args = args[min(1, len(args)):]
		case s != nil:
			receiver = sel.X
		}
	}
	if len(args) <= max(f.reader, f.signer) { // f(g()), where g returns them all
		return finding{}, false
	}
	if c.isRandReader(args[f.reader]) || f.signer != none && !c.isECDSA(args[f.signer]) {
		return finding{}, false
	}
	found := finding{Diagnostic: analysis.Diagnostic{Pos: call.Pos(), End: call.End()}}
	reader := inBrief(args[f.reader], "the reader")
	advice := f.advice
	if f.keygen != "" {
		from := receiver
		if f.from != none {
			from = args[f.from]
		}
		advice = "use keygen." + f.keygen + "(" + inBrief(from, f.param) + ", " + reader + ")"
		found.fix = func() []analysis.SuggestedFix { return c.fix(file, call, f, from) }
	}
	found.Message = f.message(fn, reader, advice)
	return found, true
}

// isRandReader reports whether e is crypto/rand.Reader, or nil, or one of the
// two on every way on which it got its value.
func (c *checker) isRandReader(e ast.Expr) bool {
	for leaf := range c.values.of(e) {
		if c.pass.TypesInfo.Types[leaf].IsNil() {
			continue
		}
		if v := variable(c.pass.TypesInfo, leaf); v == nil || v.Pkg() == nil || v.Pkg().Path() != "crypto/rand" || v.Name() != "Reader" {
			return false
		}
	}
	return true
}

// isECDSA reports whether e is certainly an *ecdsa.PrivateKey.
func (c *checker) isECDSA(e ast.Expr) bool {
	found := false
	for leaf := range c.values.of(e) {
		if !isNamed(c.pass.TypesInfo.TypeOf(leaf), "*crypto/ecdsa.PrivateKey") {
			return false
		}
		found = true
	}
	return found
}

// inBrief is e as it is written, if that fits a message.
func inBrief(e ast.Expr, otherwise string) string {
	if e == nil {
		return otherwise
	}
	if s := types.ExprString(e); len(s) <= 40 {
		return s
	}
	return otherwise
}
