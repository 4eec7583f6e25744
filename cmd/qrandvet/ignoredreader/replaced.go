package ignoredreader

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"
)

// This file is about programs that set rand.Reader. Two kinds of code do not see what they set
// it to: variables that got its value before, when their package was initialized, and functions
// that ignore it. Both are often in packages that know nothing of the assignment. So each
// package has a fact that says what is in it and in all that it imports. The report is made
// where the program sets rand.Reader.

// gather finds what rand.Reader does not reach in a package and in its imports.
var gather = &analysis.Analyzer{
	Name: "replacedreader",
	Doc:  "find what a program that sets rand.Reader does not reach",
	Run: func(pass *analysis.Pass) (any, error) {
		g, err := newGatherer(pass)
		if err != nil {
			return nil, err
		}
		if !g.isStandard() {
			g.gather()
		}
		return g, nil
	},
	FactTypes:  []analysis.Fact{new(unreached), new(holder)},
	ResultType: reflect.TypeFor[*gatherer](),
}

// unreached is the fact of a package. It includes the facts of all that the package imports,
// because a driver may leave out those of indirect imports.
type unreached struct {
	Kept     []kept
	Ignored  []ignored
	Replaced []replacement
	Late     bool // see isLate
}

// A kept reader is the rand.Reader of when a package was initialized, in a variable.
type kept struct {
	Package, Variable string
	Place             string // file.go:1
	Advice            string
	Late              bool // of its package
}

// An ignored reader is rand.Reader in a call that does not read it.
type ignored struct {
	Package, Function string
	Place             string
	Never             bool   // under no setting
	Module            string // of the package, or of one that imports it
}

// A replacement is an assignment to rand.Reader.
type replacement struct {
	Package, Place string
	Module         string
	Init           bool // it happens in each program that imports the package
}

func (*unreached) AFact() {}

func (u *unreached) add(other *unreached) {
	u.Kept = union(u.Kept, other.Kept)
	u.Ignored = union(u.Ignored, other.Ignored)
	u.Replaced = union(u.Replaced, other.Replaced)
}

func union[T comparable](list, more []T) []T {
	for _, e := range more {
		if !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list
}

// holder is the fact of a function whose result holds the rand.Reader of when it was called, and
// of a variable that holds the one of when it was initialized.
type holder struct{}

func (*holder) AFact() {}

// replacePath is the package that sets rand.Reader before most others are initialized.
const replacePath = "example.com/qrand/replace"

// ofRand are the packages that crypto/rand needs and that come after package replace in the
// alphabet, without those that only the standard library can import.
var ofRand = map[string]bool{
	"fmt": true, "hash": true, "io": true, "io/fs": true, "iter": true, "math": true, "math/big": true, "math/bits": true,
	"math/rand": true, "math/rand/v2": true, "os": true, "path": true, "reflect": true, "runtime": true, "slices": true,
	"strconv": true, "strings": true, "structs": true, "sync": true, "sync/atomic": true, "syscall": true, "syscall/js": true, "time": true,
	"unicode": true, "unicode/utf16": true, "unicode/utf8": true, "unsafe": true,
}

// isLate reports whether the package is certainly initialized after package replace, if a program
// has both. The next package to be initialized is always the first in the alphabet whose imports
// are. Package replace needs only crypto/rand and packages before itself in the alphabet (its
// TestEarly). So what comes after it there, and is not needed by crypto/rand, comes later in
// time, and so does what imports that, or package replace itself.
func (g *gatherer) isLate() bool {
	return g.path() > replacePath || slices.ContainsFunc(g.pass.Pkg.Imports(), func(p *types.Package) bool {
		var theirs unreached
		return p.Path() >= replacePath && !ofRand[p.Path()] || g.pass.ImportPackageFact(p, &theirs) && theirs.Late
	})
}

// ownGenerator are functions that make keys and secrets from Go's own generator and take no
// reader, or as ed25519.GenerateKey a nil one.
var ownGenerator = map[string]bool{
	"crypto/ed25519.GenerateKey":                       true,
	"crypto/mlkem.GenerateKey768":                      true,
	"crypto/mlkem.GenerateKey1024":                     true,
	"(*crypto/mlkem.EncapsulationKey768).Encapsulate":  true,
	"(*crypto/mlkem.EncapsulationKey1024).Encapsulate": true,
	"(crypto/hpke.KEM).GenerateKey":                    true,
	"crypto/hpke.NewSender":                            true,
	"crypto/mldsa.GenerateKey":                         true,
}

type gatherer struct {
	*checker
	all      unreached
	imported map[string]*unreached // by import path
	files    []*ast.File           // without tests
	exempt   map[string]map[int]bool
	parents  map[ast.Node]ast.Node
	holders  map[types.Object]bool // what has the fact holder, and local variables
	stores   map[*types.Func][]store
}

// A store is where a variable of a package is set to something that holds rand.Reader.
type store struct {
	variable *types.Var
	at       token.Pos
}

func newGatherer(pass *analysis.Pass) (*gatherer, error) {
	g := &gatherer{
		checker:  &checker{pass: pass, values: newValues(pass)},
		imported: map[string]*unreached{},
		exempt:   map[string]map[int]bool{},
		parents:  map[ast.Node]ast.Node{},
		holders:  map[types.Object]bool{},
	}
	for _, file := range pass.Files {
		if isTest(nameOf(pass.Fset, file)) {
			continue
		}
		g.files = append(g.files, file)
		lines, _, err := exemptions(pass, file)
		if err != nil {
			return nil, err
		}
		g.exempt[pass.Fset.File(file.FileStart).Name()] = lines
		ast.PreorderStack(file, nil, func(n ast.Node, stack []ast.Node) bool {
			if len(stack) > 0 {
				g.parents[n] = stack[len(stack)-1]
			}
			return true
		})
	}
	return g, nil
}

func (g *gatherer) gather() {
	g.all.Late = g.isLate()
	for known := -1; known != len(g.holders); {
		known = len(g.holders)
		g.stores = map[*types.Func][]store{}
		g.inspect(func(n ast.Node) {
			if e, ok := n.(ast.Expr); ok && g.isHolder(e) {
				g.follow(e)
			}
		})
	}
	for object := range g.holders {
		if v, ok := object.(*types.Var); !ok || isGlobal(v) && v.Pkg() == g.pass.Pkg {
			g.pass.ExportObjectFact(object, new(holder))
		}
	}
	seen := map[*types.Var]bool{}
	for _, s := range g.initialized() {
		v := s.variable
		if seen[v] {
			continue
		}
		seen[v] = true
		name := v.Name()
		if v.Pkg() != g.pass.Pkg {
			name = v.Pkg().Name() + "." + name
		}
		g.all.Kept = append(g.all.Kept, kept{g.path(), name, g.place(s.at), g.advice(v), g.all.Late})
	}
	g.inspect(func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			if found, ok := g.ignored(n); ok && !g.isExempt(n) {
				g.all.Ignored = append(g.all.Ignored, found)
			}
		case *ast.AssignStmt:
			if g.replaces(n) && !g.isExempt(n) {
				f := g.function(n)
				g.all.Replaced = append(g.all.Replaced, replacement{g.path(), g.place(n.Pos()), g.module(), f != nil && f.Name() == "init"})
			}
		}
	})
	for _, p := range g.pass.Pkg.Imports() {
		var theirs unreached
		if g.pass.ImportPackageFact(p, &theirs) {
			g.imported[p.Path()] = &theirs
			g.all.add(&theirs)
			for _, i := range theirs.Ignored {
				if i.Module = g.module(); i.Package == p.Path() {
					g.all.Ignored = union(g.all.Ignored, []ignored{i})
				}
			}
		}
	}
	if g.all.Late || len(g.all.Kept)+len(g.all.Ignored)+len(g.all.Replaced) > 0 {
		g.pass.ExportPackageFact(&g.all)
	}
}

func (g *gatherer) inspect(visit func(ast.Node)) {
	for _, file := range g.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}

// isExempt reports whether a comment is for the first or the last line of n.
func (g *gatherer) isExempt(n ast.Node) bool {
	lines := g.exempt[g.pass.Fset.File(n.Pos()).Name()]
	return lines[lineOf(g.pass.Fset, n.Pos())] || lines[lineOf(g.pass.Fset, n.End())]
}

// path returns the import path, without what a driver adds for tests.
func (g *gatherer) path() string {
	path, _, _ := strings.Cut(g.pass.Pkg.Path(), " ")
	return path
}

// module returns the path of the package's module, if that is known.
func (g *gatherer) module() string {
	if g.pass.Module == nil {
		return ""
	}
	return g.pass.Module.Path
}

// isStandard reports whether the package is of the standard library. Such packages have no facts:
// none keeps rand.Reader (TestStandard), and what they ignore is in the README, and the same for
// all programs.
func (g *gatherer) isStandard() bool {
	if module := g.module(); module != "" {
		return module == "std"
	}
	first, _, _ := strings.Cut(g.path(), "/")
	return first != "command-line-arguments" && !strings.Contains(first, ".")
}

func (g *gatherer) place(pos token.Pos) string {
	p := g.pass.Fset.PositionFor(pos, false)
	return fmt.Sprintf("%s:%d", filepath.Base(p.Filename), p.Line)
}

// isRandReaderVar reports whether v is the variable Reader of crypto/rand.
func isRandReaderVar(v *types.Var) bool {
	return v != nil && v.Name() == "Reader" && isGlobal(v) && v.Pkg().Path() == "crypto/rand"
}

// isHolder reports whether e is rand.Reader, a variable that holds it, or a call whose result does.
func (g *gatherer) isHolder(e ast.Expr) bool {
	var object types.Object
	switch e := e.(type) {
	case *ast.Ident:
		v, ok := g.pass.TypesInfo.Uses[e].(*types.Var)
		if !ok {
			return false
		}
		if isRandReaderVar(v) {
			return true
		}
		object = v
	case *ast.CallExpr:
		f := typeutil.StaticCallee(g.pass.TypesInfo, e)
		if f == nil {
			return false
		}
		object = f.Origin()
	default:
		return false
	}
	return g.holders[object] || object.Pkg() != nil && object.Pkg() != g.pass.Pkg && g.pass.ImportObjectFact(object, new(holder))
}

// follow finds out where the value of e goes, and records the variable or the function that
// holds it then.
func (g *gatherer) follow(e ast.Expr) {
	var n ast.Node = e
	for {
		if x, ok := n.(ast.Expr); ok && n != e && !canHold(g.pass.TypesInfo.TypeOf(x), 0) {
			return
		}
		switch p := g.parents[n].(type) {
		case *ast.ParenExpr, *ast.CompositeLit, *ast.TypeAssertExpr, *ast.StarExpr, *ast.IndexExpr:
			n = p
		case *ast.KeyValueExpr:
			if p.Value != n {
				return
			}
			n = g.parents[p]
		case *ast.UnaryExpr:
			if types.IsInterface(g.pass.TypesInfo.TypeOf(p.X)) {
				return // a pointer to rand.Reader leads to what that is set to later
			}
			n = p
		case *ast.SelectorExpr:
			n = p
			if call, ok := g.parents[p].(*ast.CallExpr); ok && call.Fun == p {
				n = call // of a method, whose result may hold what that holds
			}
		case *ast.CallExpr: // the result may hold what it was called with
			n = p
		case *ast.ReturnStmt:
			if call := g.onTheSpot(p); call != nil {
				n = call
				continue
			}
			if f := g.function(p); f != nil && f != literal {
				g.holders[f] = true
			}
			return
		case *ast.ValueSpec:
			for i, name := range p.Names {
				if len(p.Names) != len(p.Values) || p.Values[i] == n {
					g.store(name)
				}
			}
			return
		case *ast.AssignStmt:
			if slices.ContainsFunc(p.Lhs, func(left ast.Expr) bool { return left == n }) {
				return
			}
			for i, left := range p.Lhs {
				if len(p.Lhs) != len(p.Rhs) || p.Rhs[i] == n {
					g.store(left)
				}
			}
			return
		default:
			return
		}
	}
}

// store records that the variable that e is, or is a part of, holds the reader.
func (g *gatherer) store(e ast.Expr) {
	if !canHold(g.pass.TypesInfo.TypeOf(e), 0) || g.isExempt(e) {
		return
	}
	at := e.Pos()
	var v *types.Var
	for v == nil {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
			if g.pass.TypesInfo.Selections[x] == nil { // a variable of another package
				e = x.Sel
			}
		case *ast.Ident:
			var ok bool
			if v, ok = g.pass.TypesInfo.ObjectOf(x).(*types.Var); !ok || isRandReaderVar(v) {
				return
			}
		default:
			return
		}
	}
	f := g.function(e)
	if !isGlobal(v) || f == nil {
		g.holders[v] = true
	}
	if isGlobal(v) {
		g.stores[f] = append(g.stores[f], store{v, at})
	}
}

// literal stands for all function literals.
var literal = types.NewFunc(token.NoPos, nil, "", nil)

// function returns the function that n is in, or nil if that is the initializer of a variable. A
// function literal belongs to what it is in if it is called where it stands.
func (g *gatherer) function(n ast.Node) *types.Func {
	for ; n != nil; n = g.parents[n] {
		switch f := n.(type) {
		case *ast.FuncLit:
			if g.onTheSpot(f) == nil {
				return literal
			}
		case *ast.FuncDecl:
			object, _ := g.pass.TypesInfo.Defs[f.Name].(*types.Func)
			return object
		}
	}
	return nil
}

// onTheSpot returns the call of the innermost function literal that n is in, if it is called
// where it stands.
func (g *gatherer) onTheSpot(n ast.Node) *ast.CallExpr {
	for ; n != nil; n = g.parents[n] {
		switch f := n.(type) {
		case *ast.FuncDecl:
			return nil
		case *ast.FuncLit:
			if call, ok := g.parents[f].(*ast.CallExpr); ok && call.Fun == f {
				return call
			}
			return nil
		}
	}
	return nil
}

// canHold reports whether a value of the type can hold a reader: whether it is one, has one in a
// field, or is a function or an interface, which do not show what they hold.
func canHold(t types.Type, depth int) bool {
	if t == nil || depth > 4 {
		return false
	}
	switch u := t.Underlying().(type) {
	case *types.Interface:
		if u.NumMethods() == 0 || types.Identical(t, types.Universe.Lookup("error").Type()) {
			return false
		}
		return depth == 0 || u.NumMethods() == 1 && u.Method(0).Name() == "Read"
	case *types.Signature:
		return depth == 0
	case *types.Pointer:
		return canHold(u.Elem(), max(depth, 1))
	case interface{ Elem() types.Type }: // slices, arrays, maps, channels
		return canHold(u.Elem(), depth+1)
	case *types.Struct:
		for field := range u.Fields() {
			if canHold(field.Type(), depth+1) {
				return true
			}
		}
	case *types.Tuple:
		for result := range u.Variables() {
			if canHold(result.Type(), depth) {
				return true
			}
		}
	}
	return false
}

// initialized returns the stores that happen while the package is initialized.
func (g *gatherer) initialized() (stores []store) {
	calls := map[*types.Func][]*types.Func{}
	reached := []*types.Func{nil}
	g.inspect(func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f := typeutil.StaticCallee(g.pass.TypesInfo, n); f != nil && f.Pkg() == g.pass.Pkg {
				caller := g.function(n)
				calls[caller] = append(calls[caller], f.Origin())
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				reached = append(reached, g.function(n))
			}
		}
	})
	seen := map[*types.Func]bool{}
	for ; len(reached) > 0; reached = reached[1:] {
		if f := reached[0]; !seen[f] {
			seen[f] = true
			stores = append(stores, g.stores[f]...)
			reached = append(reached, calls[f]...)
		}
	}
	return stores
}

// advice says how to set the variable to another reader.
func (g *gatherer) advice(v *types.Var) string {
	for _, file := range g.files {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.IsExported() && f.Recv == nil && g.sets(f, v) {
				return "call " + g.pass.Pkg.Name() + "." + f.Name.Name
			}
		}
	}
	if v.Exported() {
		return "set " + v.Pkg().Name() + "." + v.Name() + ", too"
	}
	return "no function of the package sets it to another"
}

// sets reports whether a function sets the variable to its argument, or to something that it
// makes of that.
func (g *gatherer) sets(f *ast.FuncDecl, v *types.Var) (sets bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != len(assign.Rhs) {
			return true
		}
		for i, left := range assign.Lhs {
			if variable(g.pass.TypesInfo, left) != v {
				continue
			}
			ast.Inspect(assign.Rhs[i], func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					p, ok := g.pass.TypesInfo.Uses[id].(*types.Var)
					sets = sets || ok && p.Kind() == types.ParamVar && canHold(p.Type(), 0)
				}
				return true
			})
		}
		return true
	})
	return sets
}

// ignored returns what there is to say of a call that ignores rand.Reader. It does not matter
// which reader is passed: a function that ignores that one ignores all.
func (g *gatherer) ignored(call *ast.CallExpr) (found ignored, ok bool) {
	fn, ok := typeutil.Callee(g.pass.TypesInfo, call).(*types.Func)
	if !ok {
		return found, false
	}
	found = ignored{g.path(), strings.ReplaceAll(fn.FullName(), "crypto/", ""), g.place(call.Pos()), true, g.module()}
	f, hasReader := functions[fn.FullName()]
	switch {
	case found.Function == "ed25519.GenerateKey":
		found.Never = false
		return found, len(call.Args) == 1 && g.isAlwaysNil(call.Args[0])
	case !hasReader:
		return found, ownGenerator[fn.FullName()]
	case len(call.Args) <= max(f.reader, f.signer):
		return found, false
	}
	found.Never = f.never
	if f.signer != none {
		signer, ok := signers[g.typeOf(call.Args[f.signer])]
		found.Never = signer.never
		return found, ok
	}
	// Without a reader these signatures are deterministic.
	return found, f.into != "the signature" || !g.isAlwaysNil(call.Args[f.reader])
}

func (g *gatherer) isAlwaysNil(e ast.Expr) bool {
	for leaf := range g.values.of(e) {
		if !g.values.isNil(leaf) {
			return false
		}
	}
	return true
}

// replaces reports whether a statement sets rand.Reader to something that it was not.
func (c *checker) replaces(assign *ast.AssignStmt) bool {
	for i, left := range assign.Lhs {
		if isRandReaderVar(variable(c.pass.TypesInfo, left)) && !(len(assign.Lhs) == len(assign.Rhs) && c.isRandReader(assign.Rhs[i])) {
			return true
		}
	}
	return false
}

// replaced returns what there is to report where a program sets rand.Reader: at the
// assignment and, in package main, at the import of a package that has one.
func (c *checker) replaced(file *ast.File) (found []finding) {
	g := c.pass.ResultOf[gather].(*gatherer)
	if !slices.Contains(g.files, file) || strings.HasSuffix(g.path(), ".test") {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if n, ok := n.(*ast.AssignStmt); ok && c.replaces(n) {
			found = append(found, g.findings(n, "the new rand.Reader", false)...)
		}
		return true
	})
	if c.pass.Pkg.Name() != "main" {
		return found
	}
	for _, spec := range file.Imports {
		name := c.pass.TypesInfo.PkgNameOf(spec)
		if name == nil || g.imported[name.Imported().Path()] == nil {
			continue
		}
		told := map[bool]bool{} // by whether package replace does it
		for _, r := range g.imported[name.Imported().Path()].Replaced {
			early := r.Package == replacePath
			// In another module's function it may never happen.
			if (r.Init || r.Module == g.module()) && !told[early] {
				told[early] = true
				found = append(found, g.findings(spec, "the rand.Reader that "+r.Package+" sets ("+r.Place+")", early)...)
			}
		}
	}
	return found
}

// findings returns a finding for each variable. For each package that is of this module, or is
// imported by it, it returns one of the calls that obey a setting and one of those that do not. What
// a module further away calls may never be called here, and nobody here can change it.
//
// early is for package replace: a package that is late keeps what that has set.
func (g *gatherer) findings(at ast.Node, what string, early bool) (found []finding) {
	add := func(never bool, text string) {
		found = append(found, finding{never: never, Diagnostic: analysis.Diagnostic{
			Pos: at.Pos(), End: at.End(), Message: what + " does not reach " + text,
		}})
	}
	for _, k := range g.all.Kept {
		if early && k.Late {
			continue
		}
		add(true, fmt.Sprintf("%s, whose variable %s keeps the one of before (%s): %s", k.Package, k.Variable, k.Place, k.Advice))
	}
	type kind struct {
		path  string
		never bool
	}
	calls := map[kind][]string{}
	var order []kind
	for _, i := range g.all.Ignored {
		if i.Module != g.module() {
			continue
		}
		k := kind{i.Package, i.Never}
		if calls[k] == nil {
			order = append(order, k)
		}
		calls[k] = union(calls[k], []string{i.Function + " (" + i.Place + ")"})
	}
	for _, k := range order {
		advice := "make keys with example.com/qrand/keygen, or set godebug cryptocustomrand=1 in the go.mod of the main module"
		if k.never {
			advice = "no setting changes that"
		}
		add(k.never, fmt.Sprintf("calls in %s, which use Go's own generator, %s: %s", k.path, strings.Join(calls[k], ", "), advice))
	}
	return found
}
