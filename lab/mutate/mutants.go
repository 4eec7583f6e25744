package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A mutant is a source file with one change.
type mutant struct {
	file     string
	pkg      string // the package's name
	function string // or the first name of the declaration
	line     int
	change   string // what is changed, before and after
	wider    string // the same with the whole statement, if that is in one line
	begin    int    // offsets of what text replaces
	end      int
	text     string
	decl     *ast.FuncDecl // nil: not in a function
}

// name tells mutants apart. It stays the same when the function moves within its package
// and when something else in the function changes. It becomes another one when the
// expression or statement that the mutant changes is edited.
func (m mutant) name() string { return m.pkg + "\t" + m.function + "\t" + m.change }

// swaps are the operators and what stands in for them: a comparison's negation
// and its neighbour at the boundary, another operation on the same operands.
var swaps = map[token.Token][]token.Token{
	token.EQL: {token.NEQ},
	token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ},
	token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ},
	token.GEQ: {token.GTR, token.LSS},

	token.ADD: {token.SUB},
	token.SUB: {token.ADD},
	token.MUL: {token.QUO},
	token.QUO: {token.MUL},
	token.REM: {token.MUL},
	token.AND: {token.OR},
	token.OR:  {token.AND},
	token.XOR: {token.AND},
	token.SHL: {token.SHR},
	token.SHR: {token.SHL},

	token.ADD_ASSIGN: {token.SUB_ASSIGN, token.ASSIGN},
	token.SUB_ASSIGN: {token.ADD_ASSIGN, token.ASSIGN},
	token.MUL_ASSIGN: {token.QUO_ASSIGN, token.ASSIGN},
	token.QUO_ASSIGN: {token.MUL_ASSIGN, token.ASSIGN},
	token.INC:        {token.DEC},
	token.DEC:        {token.INC},
}

// words are the identifiers and what stands in for them.
var words = map[string]string{"true": "false", "false": "true", "min": "max", "max": "min"}

// mutants lists the mutants of a file. The changes are: a statement left out, or
// an element of a composite literal; a condition negated, or one side of && and
// || left out; an operator, min or max, true or false swapped; an integer one
// more or less; a character more in a string constant.
func mutants(file string, source []byte) (all []mutant, err error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	function := ""
	var decl *ast.FuncDecl
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	var parents []ast.Node // from the declaration down to the node that is visited
	// around returns the node that n is part of, so many levels up at most. It stays in
	// the line, and in the statement or in its header.
	around := func(n ast.Node, levels int) ast.Node {
		for _, parent := range slices.Backward(parents) {
			switch parent.(type) {
			case *ast.BlockStmt, *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.CaseClause, *ast.CommClause, *ast.FuncLit:
				return n
			}
			if levels == 0 || fset.Position(parent.Pos()).Line != fset.Position(parent.End()).Line {
				return n
			}
			if parent.Pos() <= n.Pos() && n.End() <= parent.End() && parent != n {
				n = parent
				levels--
			}
		}
		return n
	}
	put := func(shown ast.Node, from, to token.Pos, text string) { // shown is what the name tells of
		begin, end := offset(from), offset(to)
		wider := around(shown, math.MaxInt)
		all = append(all, mutant{
			file:     file,
			pkg:      tree.Name.Name,
			function: function,
			line:     fset.Position(from).Line,
			change:   change(source, offset(shown.Pos()), offset(shown.End()), begin, end, text),
			wider:    change(source, offset(wider.Pos()), offset(wider.End()), begin, end, text),
			begin:    begin,
			end:      end,
			text:     text,
			decl:     decl,
		})
	}
	part := func(n ast.Node) ast.Node { // alone, a word or a number says too little
		if _, element := parents[max(0, len(parents)-2)].(*ast.CompositeLit); element {
			return n
		}
		return around(n, 1)
	}
	text := func(n ast.Node) string { return string(source[offset(n.Pos()):offset(n.End())]) }
	drop := func(list []ast.Stmt) {
		for _, s := range list {
			switch s := s.(type) {
			case *ast.AssignStmt:
				if s.Tok == token.DEFINE {
					continue // what it declares is used
				}
			case *ast.DeclStmt:
				continue
			}
			put(s, s.Pos(), s.End(), "")
		}
	}
	negate := func(cond ast.Expr) {
		if b, ok := cond.(*ast.BinaryExpr); cond != nil && (!ok || swaps[b.Op] == nil) {
			put(cond, cond.Pos(), cond.End(), "!("+text(cond)+")")
		}
	}
	operator := func(n ast.Node, at token.Pos, op token.Token) {
		for _, other := range swaps[op] {
			put(n, at, at+token.Pos(len(op.String())), other.String())
		}
	}
	constants := false
	visit := func(n ast.Node) bool {
		if n == nil {
			parents = parents[:len(parents)-1]
			return true
		}
		parents = append(parents, n)
		switch n := n.(type) {
		case *ast.BlockStmt:
			drop(n.List)
		case *ast.CaseClause:
			drop(n.Body)
		case *ast.CommClause:
			drop(n.Body)
		case *ast.IfStmt:
			negate(n.Cond)
		case *ast.ForStmt:
			negate(n.Cond)
		case *ast.ReturnStmt:
			if len(n.Results) == 1 {
				if b, ok := n.Results[0].(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
					negate(b)
				}
			}
		case *ast.BinaryExpr:
			operator(n, n.OpPos, n.Op)
			if n.Op == token.LAND || n.Op == token.LOR {
				put(n, n.Pos(), n.Y.Pos(), "")
				put(n, n.X.End(), n.End(), "")
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				put(n, n.Pos(), n.X.Pos(), "")
			}
		case *ast.AssignStmt:
			operator(n, n.TokPos, n.Tok)
		case *ast.IncDecStmt:
			operator(n, n.TokPos, n.Tok)
		case *ast.BasicLit:
			if value, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Kind == token.INT {
				put(part(n), n.Pos(), n.End(), strconv.FormatInt(value+1, 10))
				put(part(n), n.Pos(), n.End(), strconv.FormatInt(value-1, 10))
			}
			if n.Kind == token.STRING && constants {
				put(part(n), n.Pos(), n.Pos()+1, n.Value[:1]+"!")
			}
		case *ast.Ident:
			if other := words[n.Name]; other != "" {
				put(part(n), n.Pos(), n.End(), other)
			}
		case *ast.CompositeLit:
			for i, e := range n.Elts {
				end := n.Rbrace
				if i+1 < len(n.Elts) {
					end = n.Elts[i+1].Pos()
				}
				put(e, e.Pos(), end, "")
			}
		}
		return true
	}
	for _, d := range tree.Decls {
		constants = false
		switch d := d.(type) {
		case *ast.FuncDecl:
			function = d.Name.Name
			if d.Recv != nil {
				function = "(" + text(d.Recv.List[0].Type) + ")." + function
			}
			decl = d
			ast.Inspect(d.Body, visit)
			decl = nil
		case *ast.GenDecl:
			constants = d.Tok == token.CONST
			for _, s := range d.Specs {
				if v, ok := s.(*ast.ValueSpec); ok {
					function = v.Names[0].Name
					if mentionsText(v) { // what people read may be worded as one likes
						continue
					}
					ast.Inspect(v, visit)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b mutant) int { return cmp.Compare(a.line, b.line) })
	// Mutants with the same name get a longer one, and if need be "1 of 2". So new code
	// that looks the same never takes the name, and the argument, of an old mutant.
	names := countNames(all)
	for i, m := range all {
		if names[m.name()] > 1 {
			all[i].change = m.wider
		}
	}
	names = countNames(all)
	seen := map[string]int{}
	for i, m := range all {
		if name := m.name(); names[name] > 1 {
			seen[name]++
			all[i].change += fmt.Sprintf(" (%d of %d)", seen[name], names[name])
		}
	}
	return all, nil
}

func countNames(all []mutant) map[string]int {
	names := map[string]int{}
	for _, m := range all {
		names[m.name()]++
	}
	return names
}

// mentionsText reports whether a variable is an error, or a table of texts.
func mentionsText(v *ast.ValueSpec) bool {
	if len(v.Values) == 0 {
		return false
	}
	switch value := v.Values[0].(type) {
	case *ast.CallExpr:
		f, ok := value.Fun.(*ast.SelectorExpr)
		return ok && (f.Sel.Name == "New" || f.Sel.Name == "Errorf")
	case *ast.CompositeLit:
		_, ok := value.Type.(*ast.MapType)
		return ok
	}
	return false
}

// change shows source[from:to] before and after source[begin:end] becomes text, in one
// line. Of a statement that is left out it shows only the first line.
func change(source []byte, from, to, begin, end int, text string) string {
	oneLine := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	before := string(source[from:to])
	after := oneLine(string(source[from:begin]) + text + string(source[end:max(end, to)]))
	if after == "" {
		after = "nothing"
		if first, _, more := strings.Cut(before, "\n"); more {
			first, _, _ = strings.Cut(first, " //")
			before = first + " …"
		}
	}
	return oneLine(before) + " => " + after
}
