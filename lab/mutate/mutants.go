package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// A mutant is a source file with one change.
type mutant struct {
	file     string
	function string // or the first name of the declaration
	line     int
	change   string // the line, or the statement's first, before and after
	begin    int    // offsets of what text replaces
	end      int
	text     string
	decl     *ast.FuncDecl // nil: not in a function
}

// name tells mutants apart, and still does when lines are added above.
func (m mutant) name() string { return m.file + "\t" + m.function + "\t" + m.change }

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
	put := func(from, to token.Pos, text string) {
		begin, end := offset(from), offset(to)
		all = append(all, mutant{
			file:     file,
			function: function,
			line:     fset.Position(from).Line,
			change:   change(source, begin, end, text),
			begin:    begin,
			end:      end,
			text:     text,
			decl:     decl,
		})
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
			put(s.Pos(), s.End(), "")
		}
	}
	negate := func(cond ast.Expr) {
		if b, ok := cond.(*ast.BinaryExpr); cond != nil && (!ok || swaps[b.Op] == nil) {
			put(cond.Pos(), cond.End(), "!("+text(cond)+")")
		}
	}
	operator := func(at token.Pos, op token.Token) {
		for _, other := range swaps[op] {
			put(at, at+token.Pos(len(op.String())), other.String())
		}
	}
	constants := false
	visit := func(n ast.Node) bool {
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
			operator(n.OpPos, n.Op)
			if n.Op == token.LAND || n.Op == token.LOR {
				put(n.Pos(), n.Y.Pos(), "")
				put(n.X.End(), n.End(), "")
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				put(n.Pos(), n.X.Pos(), "")
			}
		case *ast.AssignStmt:
			operator(n.TokPos, n.Tok)
		case *ast.IncDecStmt:
			operator(n.TokPos, n.Tok)
		case *ast.BasicLit:
			if value, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Kind == token.INT {
				put(n.Pos(), n.End(), strconv.FormatInt(value+1, 10))
				put(n.Pos(), n.End(), strconv.FormatInt(value-1, 10))
			}
			if n.Kind == token.STRING && constants {
				put(n.Pos(), n.Pos()+1, n.Value[:1]+"!")
			}
		case *ast.Ident:
			if other := words[n.Name]; other != "" {
				put(n.Pos(), n.End(), other)
			}
		case *ast.CompositeLit:
			for i, e := range n.Elts {
				end := n.Rbrace
				if i+1 < len(n.Elts) {
					end = n.Elts[i+1].Pos()
				}
				put(e.Pos(), end, "")
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
	seen := map[string]int{}
	for i := range all { // the same change to another line like it is another mutant
		name := all[i].name()
		if seen[name]++; seen[name] > 1 {
			all[i].change += fmt.Sprintf(" (%d)", seen[name])
		}
	}
	return all, nil
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

// change shows source[begin:end] become text, in its line.
func change(source []byte, begin, end int, text string) string {
	from := bytes.LastIndexByte(source[:begin], '\n') + 1
	to := len(source)
	if i := bytes.IndexByte(source[end:], '\n'); i >= 0 {
		to = end + i
	}
	tidy := func(s string) string {
		first, rest, more := strings.Cut(strings.TrimSpace(s), "\n")
		first, _, _ = strings.Cut(strings.Join(strings.Fields(first), " "), " //")
		if more && strings.TrimSpace(rest) != "" {
			first += " …"
		}
		return first
	}
	before := tidy(string(source[from:to]))
	after := tidy(string(source[from:begin]) + text + string(source[end:to]))
	if after == "" || strings.HasPrefix(after, "//") { // all of it, but for a comment
		after = "nothing"
	}
	return fmt.Sprintf("%s => %s", before, after)
}
