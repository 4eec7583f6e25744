package qrand

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestLogMessages: docs/operations.md has a row for each message of Warn and above that the
// code logs, with its level, and no other.
func TestLogMessages(t *testing.T) {
	documented := map[string]string{} // the level of a message
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (Warn|Error) \\| [^|]{10,} \\| [^|]{10,} \\|$").FindAllStringSubmatch(readText(t, "docs/operations.md"), -1) {
		if documented[row[1]] != "" {
			t.Errorf("docs/operations.md has %q twice", row[1])
		}
		documented[row[1]] = row[2]
	}
	logged := loggedMessages(t)
	logged["http: …"] = "Warn" // relay's errorLog: what net/http says
	if len(logged) < 30 {
		t.Errorf("%d messages: are they found?", len(logged))
	}
	for message, level := range logged {
		if documented[message] != level {
			t.Errorf("docs/operations.md has %q at level %q; the code logs it at %s", message, documented[message], level)
		}
	}
	for message := range documented {
		if logged[message] == "" {
			t.Errorf("docs/operations.md has %q, which nothing logs", message)
		}
	}
}

// loggedMessages maps each message of Warn and above to its level. A message that is put
// together from parts is in the map as its parts.
func loggedMessages(t *testing.T) map[string]string {
	t.Helper()
	logged := map[string]string{}
	add := func(level string, e ast.Node) (found bool) {
		ast.Inspect(e, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
				message, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Fatal(err)
				}
				logged[strings.Trim(regexp.MustCompile(`%[a-z]`).ReplaceAllString(message, "…"), "; ")] = level
				found = true
			}
			return true
		})
		return found
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "lab" || path == "examples" || d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				level, message := logCall(n)
				variable, ok := message.(*ast.Ident)
				switch found := false; {
				case message == nil:
				case level == "":
					if path != "relay/server.go" { // errorLog
						t.Errorf("%v: what is the level?", files.Position(n.Pos()))
					}
				case !ok:
					if !add(level, message) {
						t.Errorf("%v: the message is not a text", files.Position(n.Pos()))
					}
				default: // what is assigned to the variable, or what its function is called with
					ast.Inspect(decl, func(n ast.Node) bool {
						switch n := n.(type) {
						case *ast.AssignStmt:
							if left, ok := n.Lhs[0].(*ast.Ident); ok && left.Name == variable.Name {
								found = add(level, n.Rhs[0]) || found
							}
							if f, ok := n.Rhs[0].(*ast.FuncLit); ok && len(f.Type.Params.List) > 0 && f.Type.Params.List[0].Names[0].Name == variable.Name {
								ast.Inspect(decl, func(c ast.Node) bool {
									if call, ok := c.(*ast.CallExpr); ok && sameName(call.Fun, n.Lhs[0]) {
										found = add(level, call.Args[0]) || found
									}
									return true
								})
							}
						}
						return true
					})
					if !found {
						t.Errorf("%v: where does the message come from?", files.Position(n.Pos()))
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return logged
}

// logCall returns the level and the message of a call that may log at Warn or above; a nil
// message if n is something else, and no level if the code decides it when it runs.
func logCall(n ast.Node) (level string, message ast.Expr) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", nil
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", nil
	}
	if pkg, ok := f.X.(*ast.Ident); ok && (pkg.Name == "http" || pkg.Name == "math") {
		return "", nil
	}
	switch name := f.Sel.Name; name {
	case "Warn", "Error":
		return name, call.Args[0]
	case "WarnContext", "ErrorContext":
		return strings.TrimSuffix(name, "Context"), call.Args[1]
	case "Log", "LogAttrs":
		if len(call.Args) < 3 {
			return "", nil
		}
		level, ok := call.Args[1].(*ast.SelectorExpr)
		switch {
		case !ok:
			return "", call.Args[2]
		case level.Sel.Name == "LevelInfo" || level.Sel.Name == "LevelDebug":
			return "", nil
		}
		return strings.TrimPrefix(level.Sel.Name, "Level"), call.Args[2]
	}
	return "", nil
}

func sameName(a, b ast.Expr) bool {
	x, ok := a.(*ast.Ident)
	y, yes := b.(*ast.Ident)
	return ok && yes && x.Name == y.Name
}
