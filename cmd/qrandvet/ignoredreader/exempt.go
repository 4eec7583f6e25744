package ignoredreader

import (
	"go/ast"
	"go/token"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// directive begins a comment that suppresses a report, and says why.
const directive = "//qrandvet:ignore"

// exemptions returns the lines of the file whose reports are suppressed, and the directives
// without a reason. A directive is for its own line, and for the next one if nothing else
// is on its own. In the comment of a declaration at top level it is for all of that.
func exemptions(pass *analysis.Pass, file *ast.File) (lines map[int]bool, bare []*ast.Comment, err error) {
	lines = map[int]bool{}
	declared := map[*ast.CommentGroup]ast.Decl{}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			declared[d.Doc] = d
		case *ast.GenDecl:
			declared[d.Doc] = d
		}
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			reason, ok := strings.CutPrefix(comment.Text, directive)
			if !ok || reason != "" && !strings.ContainsAny(reason[:1], " \t") {
				continue
			}
			reason = strings.TrimSpace(reason)
			if reason == "" || strings.HasPrefix(reason, "//") {
				bare = append(bare, comment)
				continue
			}
			alone, err := isAlone(pass, comment)
			if err != nil {
				return nil, nil, err
			}
			line := lineOf(pass.Fset, comment.Pos())
			lines[line] = true
			if alone {
				lines[line+1] = true
			}
			if decl := declared[group]; decl != nil {
				for ; line <= lineOf(pass.Fset, decl.End()); line++ {
					lines[line] = true
				}
			}
		}
	}
	return lines, bare, nil
}

// isAlone reports whether nothing is before the comment on its line.
func isAlone(pass *analysis.Pass, comment *ast.Comment) (bool, error) {
	file := pass.Fset.File(comment.Pos())
	content, err := pass.ReadFile(file.Name())
	if err != nil {
		return false, err
	}
	start, end := file.Offset(file.LineStart(lineOf(pass.Fset, comment.Pos()))), file.Offset(comment.Pos())
	if end > len(content) {
		return false, nil // the file has changed since it was parsed
	}
	return strings.TrimSpace(string(content[start:end])) == "", nil
}

// lineOf returns the line of pos in its file, not the one that a //line comment gives it.
func lineOf(fset *token.FileSet, pos token.Pos) int { return fset.PositionFor(pos, false).Line }
