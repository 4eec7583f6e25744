package ignoredreader

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// keygenPath is the package whose functions read their reader.
const keygenPath = "example.com/qrand/keygen"

// fix returns the edits that call package keygen instead. It returns nil where the result
// would not be the same, or would not compile.
func (c *checker) fix(file *ast.File, call *ast.CallExpr, f function, from ast.Expr) []analysis.SuggestedFix {
	_, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
	if !ok || f.keygen == "RSA" && !acceptsBits(c.pass.TypesInfo, from) {
		return nil // not a selector: from a dot import
	}
	name, edits := c.importKeygen(file, call.Pos())
	if name == "" {
		return nil
	}
	name += "." + f.keygen
	switch {
	case f.from == none: // curve.GenerateKey(r) becomes name(curve, r)
		if from == nil || !isNamed(c.pass.TypesInfo.TypeOf(from), "crypto/ecdh.Curve") {
			return nil // a method expression, or a type that keygen does not know
		}
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

// acceptsBits reports whether keygen.RSA makes keys of this size. A size that is known only
// when the program runs is accepted: keygen.RSA checks it then.
func acceptsBits(info *types.Info, bits ast.Expr) bool {
	value := info.Types[bits].Value
	if value == nil {
		return true
	}
	n, ok := constant.Int64Val(value)
	return ok && n >= 2048 && n <= 8192 && n%16 == 0
}

// isNamed reports whether a type has this name, with its whole import path.
func isNamed(t types.Type, name string) bool {
	return t != nil && types.TypeString(types.Unalias(t), nil) == name
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
		if _, used := scope.LookupParent(name, pos); used != nil {
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

// addImport adds an import to the last import declaration if that has parentheses, and
// after it otherwise. All fixes of a file make the same edit, which is applied once.
func (c *checker) addImport(file *ast.File, spec string) (edit analysis.TextEdit, ok bool) {
	var last *ast.GenDecl
	end := file.Name.End()
	for _, decl := range file.Decls {
		imports, ok := decl.(*ast.GenDecl)
		if !ok || imports.Tok != token.IMPORT {
			break
		}
		last, end = imports, imports.End()
	}
	tf := c.pass.Fset.File(end)
	switch line := lineOf(c.pass.Fset, end); {
	case last != nil && last.Rparen.IsValid():
		edit.Pos = last.Rparen
		edit.NewText = fmt.Appendf(nil, "\n\t%s\n", spec)
		if n := len(last.Specs); n > 0 && lineOf(c.pass.Fset, last.Specs[n-1].End()) < line && isForeign(last.Specs[n-1]) {
			edit.NewText = edit.NewText[1:] // in the same group
		}
	case line < tf.LineCount():
		edit.Pos = tf.LineStart(line + 1)
		edit.NewText = fmt.Appendf(nil, "import %s\n", spec)
	default:
		return edit, false // all of the file is on this line
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
