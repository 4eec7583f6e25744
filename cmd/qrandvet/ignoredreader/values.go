package ignoredreader

import (
	"go/ast"
	"go/token"
	"go/types"
	"iter"

	"golang.org/x/tools/go/analysis"
)

// values says what the variables of a package can hold.
type values struct {
	info *types.Info

	// followed are the variables of an interface type that only the code of this package
	// can set. Parameters, fields and exported variables are not among them.
	followed map[*types.Var]bool

	assigned map[*types.Var][]ast.Expr
	unknown  map[*types.Var]bool // they can also hold other values

	constants map[*types.Const]ast.Expr // what is written as their values
}

func newValues(pass *analysis.Pass) *values {
	v := &values{pass.TypesInfo, map[*types.Var]bool{}, map[*types.Var][]ast.Expr{}, map[*types.Var]bool{}, map[*types.Const]ast.Expr{}}
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if constant, ok := v.info.Defs[name].(*types.Const); ok && i < len(n.Values) {
						v.constants[constant] = n.Values[i]
					}
					v.declare(name)
					switch len(n.Values) {
					case 0:
						v.assign(name, unset)
					case len(n.Names):
						v.assign(name, n.Values[i])
					default:
						v.assign(name, nil)
					}
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if n.Tok == token.DEFINE {
						v.declare(left)
					}
					if len(n.Lhs) == len(n.Rhs) {
						v.assign(left, n.Rhs[i])
					} else {
						v.assign(left, nil)
					}
				}
			case *ast.RangeStmt:
				v.assign(n.Key, nil)
				v.assign(n.Value, nil)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					v.assign(n.X, nil)
				}
			}
			return true
		})
	}
	return v
}

func (v *values) declare(e ast.Expr) {
	id, ok := e.(*ast.Ident)
	if !ok {
		return
	}
	x, ok := v.info.Defs[id].(*types.Var)
	if !ok {
		return
	}
	v.followed[x] = types.IsInterface(x.Type()) && !(isGlobal(x) && x.Exported())
}

func isGlobal(x *types.Var) bool { return x.Pkg() != nil && x.Parent() == x.Pkg().Scope() }

// assign records a value that e can have, or with nil that it can have any value.
func (v *values) assign(e, value ast.Expr) {
	x := variable(v.info, e)
	if x == nil {
		return
	}
	if value == nil {
		v.unknown[x] = true
	} else {
		v.assigned[x] = append(v.assigned[x], value)
	}
}

// variable returns the variable or field that e names, or nil.
func variable(info *types.Info, e ast.Expr) *types.Var {
	var id *ast.Ident
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		id = e
	case *ast.SelectorExpr:
		id = e.Sel
	default:
		return nil
	}
	x, _ := info.ObjectOf(id).(*types.Var)
	return x
}

// unset stands for the nil with which a variable begins.
var unset ast.Expr = &ast.BadExpr{}

func (v *values) isNil(e ast.Expr) bool { return e == unset || v.info.Types[e].IsNil() }

// of yields what e can be: e itself or, if it is a variable that is followed, all that is
// assigned to it.
func (v *values) of(e ast.Expr) iter.Seq[ast.Expr] {
	return func(yield func(ast.Expr) bool) { v.each(e, true, map[*types.Var]bool{}, yield) }
}

// ofLocal does the same for variables of functions only. To a variable of the package a
// test may assign, of which the pass for the package without its tests knows nothing.
func (v *values) ofLocal(e ast.Expr) iter.Seq[ast.Expr] {
	return func(yield func(ast.Expr) bool) { v.each(e, false, map[*types.Var]bool{}, yield) }
}

func (v *values) each(e ast.Expr, global bool, seen map[*types.Var]bool, yield func(ast.Expr) bool) bool {
	e = ast.Unparen(e)
	if call, ok := e.(*ast.CallExpr); ok && len(call.Args) == 1 {
		// A conversion from one interface to another keeps the value.
		if to := v.info.Types[call.Fun]; to.IsType() && types.IsInterface(to.Type) {
			return v.each(call.Args[0], global, seen, yield)
		}
	}
	x := variable(v.info, e)
	if !v.followed[x] || v.unknown[x] || !global && isGlobal(x) {
		return yield(e)
	}
	if seen[x] {
		return true
	}
	seen[x] = true
	for _, value := range v.assigned[x] {
		if !v.each(value, global, seen, yield) {
			return false
		}
	}
	return true
}
