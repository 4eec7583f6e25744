package ignoredreader

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// keygenPath is the package whose functions read their reader.
const keygenPath = "example.com/qrand/keygen"

// fix returns the edits that call package keygen instead. It returns nil where the result
// would not be the same, or would not compile.
func (c *checker) fix(file *ast.File, call *ast.CallExpr, f function, from ast.Expr) []analysis.SuggestedFix {
	if _, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); !ok {
		return nil // from a dot import
	}
	if ast.IsGenerated(file) || c.isImportedByKeygen() {
		return nil // cgo's files are generated, too
	}
	name, edits := c.importKeygen(file, call.Pos())
	if name == "" {
		return nil
	}
	name += "." + f.keygen
	switch {
	case f.from == none: // curve.GenerateKey(r) becomes name(curve, r)
		edits = append(edits,
			analysis.TextEdit{Pos: call.Pos(), End: from.Pos(), NewText: []byte(name + "(")},
			analysis.TextEdit{Pos: from.End(), End: call.Lparen + 1, NewText: []byte(", ")})
	case f.from < f.reader:
		edits = append(edits, analysis.TextEdit{Pos: call.Fun.Pos(), End: call.Fun.End(), NewText: []byte(name)})
	default: // the two arguments change places
		reader, ok1 := c.source(call.Args[f.reader])
		param, ok2 := c.source(from)
		if !ok1 || !ok2 {
			return nil
		}
		edits = append(edits,
			analysis.TextEdit{Pos: call.Fun.Pos(), End: call.Fun.End(), NewText: []byte(name)},
			analysis.TextEdit{Pos: call.Args[f.reader].Pos(), End: call.Args[f.reader].End(), NewText: param},
			analysis.TextEdit{Pos: from.Pos(), End: from.End(), NewText: reader})
	}
	return []analysis.SuggestedFix{{Message: "Call keygen." + f.keygen, TextEdits: edits}}
}

// isImportedByKeygen reports whether the package may be among those that package keygen
// imports, so that it cannot import keygen.
func (c *checker) isImportedByKeygen() bool {
	path, _, _ := strings.Cut(c.pass.Pkg.Path(), " ") // of p [p.test]
	if path == keygenPath {
		return true
	}
	if c.pass.Module == nil {
		return false
	}
	switch c.pass.Module.Path {
	case "std", "filippo.io/bigmod", "filippo.io/keygen", "github.com/cloudflare/circl", "golang.org/x/crypto", "golang.org/x/sys":
		return true
	}
	return false
}

// source returns the text of an expression.
func (c *checker) source(e ast.Expr) ([]byte, bool) {
	file := c.pass.Fset.File(e.Pos())
	content, err := c.pass.ReadFile(file.Name())
	if err != nil || file.Offset(e.End()) > len(content) {
		return nil, false
	}
	return content[file.Offset(e.Pos()):file.Offset(e.End())], true
}

// importKeygen returns the name of package keygen at pos, and the edits that import it if
// the file does not. The name is empty if all names that we try are in use.
func (c *checker) importKeygen(file *ast.File, pos token.Pos) (string, []analysis.TextEdit) {
	scope := c.pass.Pkg.Scope().Innermost(pos)
	if scope == nil {
		return "", nil
	}
	for _, spec := range file.Imports {
		name := c.pass.TypesInfo.PkgNameOf(spec)
		if name == nil || name.Imported().Path() != keygenPath {
			continue
		}
		if _, found := scope.LookupParent(name.Name(), pos); found == name {
			return name.Name(), nil
		}
	}
	for _, name := range []string{"keygen", "qrandkeygen"} {
		if _, used := scope.LookupParent(name, pos); used != nil || c.declared(file)[name] > 0 {
			continue
		}
		spec := strconv.Quote(keygenPath)
		if name != "keygen" {
			spec = name + " " + spec
		}
		if edit, ok := c.addImport(file, spec); ok {
			return name, []analysis.TextEdit{edit}
		}
	}
	return "", nil
}

// declared returns how often the package declares each name, also in files that are not of
// the pass: in its tests, or for other systems.
func (c *checker) declared(file *ast.File) map[string]int {
	if c.names == nil {
		c.names = map[string]int{}
		for _, f := range c.folder(file, ".go") {
			if f.Name.Name != c.pass.Pkg.Name() {
				continue
			}
			for _, decl := range f.Decls {
				for _, name := range declaredBy(decl) {
					c.names[name.Name]++
				}
			}
		}
	}
	return c.names
}

// setByTests returns the names of the variables and fields that tests in the folder set.
func (c *checker) setByTests(file *ast.File) map[string]bool {
	if c.set == nil {
		c.set = map[string]bool{}
		set := func(e ast.Expr) {
			switch e := ast.Unparen(e).(type) {
			case *ast.Ident:
				c.set[e.Name] = true
			case *ast.SelectorExpr:
				c.set[e.Sel.Name] = true
			}
		}
		for _, f := range c.folder(file, "_test.go") {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					for _, left := range n.Lhs {
						set(left)
					}
				case *ast.UnaryExpr:
					if n.Op == token.AND {
						set(n.X)
					}
				}
				return true
			})
		}
	}
	return c.set
}

// folder parses the files beside a file whose names have that end, as far as it can.
func (c *checker) folder(file *ast.File, end string) (files []*ast.File) {
	dir := filepath.Dir(nameOf(c.pass.Fset, file))
	entries, _ := os.ReadDir(dir) // not filepath.Glob, which a [ in dir would mislead
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), end) {
			continue
		}
		if f, _ := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, entry.Name()), nil, parser.SkipObjectResolution); f != nil {
			files = append(files, f)
		}
	}
	return files
}

// declaredBy returns the names of a declaration at top level, but not those of methods.
func declaredBy(decl ast.Decl) (names []*ast.Ident) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			names = append(names, decl.Name)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name)
			case *ast.ValueSpec:
				names = append(names, spec.Names...)
			}
		}
	}
	return names
}

// addImport adds an import to the last import declaration if that has parentheses, and
// after it otherwise. All fixes of a file make the same edit, which is applied once.
func (c *checker) addImport(file *ast.File, spec string) (edit analysis.TextEdit, ok bool) {
	var last *ast.GenDecl // there is one, of the function that is called
	for _, decl := range file.Decls {
		imports, ok := decl.(*ast.GenDecl)
		if !ok || imports.Tok != token.IMPORT {
			if lineOf(c.pass.Fset, decl.Pos()) == lineOf(c.pass.Fset, last.End()) {
				return edit, false
			}
			break
		}
		last = imports
	}
	tf := c.pass.Fset.File(last.Pos())
	switch line := lineOf(c.pass.Fset, last.End()); {
	case last.Rparen.IsValid():
		edit.Pos = last.Rparen
		edit.NewText = fmt.Appendf(nil, "\n\t%s\n", spec)
		if n := len(last.Specs); n > 0 && lineOf(c.pass.Fset, last.Specs[n-1].End()) < line && isForeign(last.Specs[n-1]) {
			edit.NewText = edit.NewText[1:] // in the same group
		}
	case line < tf.LineCount():
		edit.Pos = tf.LineStart(line + 1)
		edit.NewText = fmt.Appendf(nil, "import %s\n", spec)
		for _, group := range file.Comments {
			for _, comment := range group.List {
				if comment.Pos() < edit.Pos && edit.Pos < comment.End() {
					return edit, false // it would be in the comment
				}
			}
		}
	default:
		return edit, false
	}
	edit.End = edit.Pos
	return edit, true
}

// isForeign reports whether an import is not of the standard library: then its first
// element has a dot.
func isForeign(spec ast.Spec) bool {
	path, _ := strconv.Unquote(spec.(*ast.ImportSpec).Path.Value)
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}
