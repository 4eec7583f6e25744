// Package ignoredreader reports readers that are passed to the standard library
// and that the standard library does not read.
//
// Most people want the command, example.com/qrand/cmd/qrandvet, whose documentation says
// what is reported and why. Use this package to put [Analyzer] into another tool. If the
// results of that tool are cached, the key of the cache should include [Settings].
package ignoredreader

import (
	"go/ast"
	"go/constant"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// Analyzer reports calls that pass a reader other than crypto/rand.Reader to a
// function that ignores it, readers set as tls.Config.Rand, and what does not see
// that a program sets crypto/rand.Reader.
var Analyzer = &analysis.Analyzer{
	Name: "ignoredreader",
	Doc: `report readers that the standard library ignores since Go 1.26

Where the main module's go line is 1.26 or later, and no godebug line says
cryptocustomrand=1, ecdsa.GenerateKey, ecdh.Curve.GenerateKey, rsa.GenerateKey,
rand.Prime, ECDSA signatures and some more have a reader and do not read it.
A key then contains nothing of the reader that was passed for it.
ML-DSA signatures of crypto/mldsa ignore it under every setting.
Where a program sets rand.Reader, variables that keep the earlier one and calls that
ignore it are reported.
The suggested fixes call example.com/qrand/keygen, which reads the reader.

A comment //qrandvet:ignore REASON at the end of the call's first or last line, or
alone on the line before, suppresses a report.`,
	Run:      run,
	Requires: []*analysis.Analyzer{gather},
}

// A finding is a diagnostic that a comment or a setting may still suppress.
type finding struct {
	analysis.Diagnostic
	fix   func() []analysis.SuggestedFix // nil: there is none
	never bool                           // no setting lets the reader be read
}

type checker struct {
	pass   *analysis.Pass
	values *values
	names  map[string]int  // what declared returns
	set    map[string]bool // what setByTests returns
}

func run(pass *analysis.Pass) (any, error) {
	c := &checker{pass: pass, values: newValues(pass)}
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
			findings = slices.DeleteFunc(findings, func(f finding) bool { return !f.never })
			if len(findings) == 0 {
				continue
			}
		}
		for _, comment := range bare {
			pass.Report(analysis.Diagnostic{
				Pos: comment.Pos(), End: comment.End(),
				Message: directive + " needs a reason, and does nothing without one: write " + directive + " REASON",
			})
		}
		for _, f := range findings {
			if exempt[lineOf(pass.Fset, f.Pos)] || exempt[lineOf(pass.Fset, f.End)] {
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

// findings returns what there is to report if readers are ignored.
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
	return append(found, c.replaced(file)...)
}

// call returns what there is to report of a call. It looks at the function that is called,
// not at how the program writes it.
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
	if c.isRandReader(args[f.reader]) {
		return finding{}, false
	}
	if f.signer != none {
		signer, ok := signers[c.typeOf(args[f.signer])]
		if !ok {
			return finding{}, false
		}
		f.into, f.never = f.into+signer.name, signer.never
	}
	found := finding{Diagnostic: analysis.Diagnostic{Pos: call.Pos(), End: call.End()}, never: f.never}
	reader := inBrief(args[f.reader], "the reader")
	advice := f.advice
	if f.keygen != "" {
		from := receiver
		if f.from != none {
			from = args[f.from]
		}
		if c.isTaken(file, f.keygen, from) && !c.mayFail(file, args[f.reader]) {
			advice = "use keygen." + f.keygen + "(" + inBrief(from, "...") + ", " + reader + ")"
			found.fix = func() []analysis.SuggestedFix { return c.fix(file, call, f, from) }
		}
	}
	when := " since Go 1.26"
	if f.never {
		when = " under every setting"
	}
	found.Message = strings.ReplaceAll(fn.FullName(), "crypto/", "") + " ignores its reader" + when + f.except +
		": no byte of " + reader + " goes into " + f.into + "; " + advice
	return found, true
}

// config returns what there is to report of a node n that sets tls.Config.Rand to reader.
func (c *checker) config(n ast.Node, reader ast.Expr) []finding {
	if c.isRandReader(reader) || isConfigRand(variable(c.pass.TypesInfo, reader)) {
		return nil // copied from another Config: it is reported where that was set
	}
	return []finding{{Diagnostic: analysis.Diagnostic{Pos: n.Pos(), End: n.End(), Message: tlsMessage}}}
}

// isConfigRand reports whether obj is the field Rand of tls.Config, or of a type that is
// declared as tls.Config.
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

// isRandReader reports whether every value that e can have is crypto/rand.Reader or nil.
func (c *checker) isRandReader(e ast.Expr) bool {
	for leaf := range c.values.of(e) {
		if c.values.isNil(leaf) {
			continue
		}
		if v := variable(c.pass.TypesInfo, leaf); v == nil || v.Pkg() == nil || v.Pkg().Path() != "crypto/rand" || v.Name() != "Reader" {
			return false
		}
	}
	return true
}

// typeOf returns the type of e, or nothing if e can have values of several types.
func (c *checker) typeOf(e ast.Expr) (name string) {
	for leaf := range c.values.of(e) {
		if leaf == unset {
			continue
		}
		t := typeName(c.pass.TypesInfo.TypeOf(leaf))
		if name != "" && t != name {
			return ""
		}
		name = t
	}
	return name
}

// isTaken reports whether the function of package keygen certainly makes a key of e: of a
// curve that each value of e is, or of a constant size. (A nil curve makes a key nowhere.)
func (c *checker) isTaken(file *ast.File, function string, e ast.Expr) (taken bool) {
	if e == nil { // a method expression has no receiver
		return false
	}
	if function == "RSA" {
		value := c.pass.TypesInfo.Types[e].Value
		if value == nil {
			return false
		}
		n, ok := constant.Int64Val(value)
		return ok && n >= 2048 && n <= 8192 && n%16 == 0 && c.isFixed(file, e)
	}
	for leaf := range c.values.ofLocal(e) {
		if c.values.isNil(leaf) {
			continue
		}
		if curves[c.callee(leaf)] != function {
			return false
		}
		taken = true
	}
	return taken
}

// isFixed reports whether a constant has the same value under all build tags: whether the
// package declares the constants that it is made of, each in one file only.
func (c *checker) isFixed(file *ast.File, e ast.Expr) bool {
	fixed := true
	ast.Inspect(e, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return fixed
		}
		if x, ok := c.pass.TypesInfo.Uses[id].(*types.Const); ok {
			value := c.values.constants[x] // nil in other packages, and for iota
			several := x.Parent() == c.pass.Pkg.Scope() && c.declared(file)[x.Name()] > 1
			fixed = fixed && value != nil && !several && c.isFixed(file, value)
		}
		return fixed
	})
	return fixed
}

// mayFail reports whether a reader is known that can be nil, or that ends or fails. Without
// it the key was made all the same. A test may set a variable of the package to such a reader.
func (c *checker) mayFail(file *ast.File, reader ast.Expr) bool {
	for leaf := range c.values.ofLocal(reader) {
		if x := variable(c.pass.TypesInfo, leaf); x != nil && isGlobal(x) && c.setByTests(file)[x.Name()] {
			return true
		}
	}
	for leaf := range c.values.of(reader) {
		if c.values.isNil(leaf) {
			return true
		}
		switch typeName(c.pass.TypesInfo.TypeOf(leaf)) {
		case "*bytes.Buffer", "*bytes.Reader", "*strings.Reader", "*io.LimitedReader", "*io.SectionReader":
			return true
		}
		switch c.callee(leaf) {
		case "io.LimitReader", "testing/iotest.ErrReader", "testing/iotest.TimeoutReader":
			return true
		}
	}
	return false
}

// callee returns the name of the function that e calls, or nothing.
func (c *checker) callee(e ast.Expr) string {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return ""
	}
	fn := typeutil.StaticCallee(c.pass.TypesInfo, call)
	if fn == nil {
		return ""
	}
	return fn.FullName()
}

// typeName returns the name of a type, with its whole import path.
func typeName(t types.Type) string {
	if t == nil {
		return ""
	}
	return types.TypeString(types.Unalias(t), nil)
}

// inBrief returns the text of e, if that is short enough for a message.
func inBrief(e ast.Expr, otherwise string) string {
	if e == nil {
		return otherwise
	}
	if s := types.ExprString(e); len(s) <= 40 {
		return s
	}
	return otherwise
}
