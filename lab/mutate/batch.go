package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"strings"
)

// A build takes longer than most tests. So one build has all mutants of a file's
// functions in it: each is a copy of its function with one change. The function itself
// calls the copy whose number the environment names.

// selector is the file that reads the number.
const selector = `package %s

import (
	"os"
	"strconv"
)

var mutant_, _ = strconv.Atoi(os.Getenv("` + selectorEnv + `"))
`

const selectorEnv = "MUTANT"

// batchable reports whether the function can pass its call on to a copy: it is neither
// generic nor variadic, and its parameters have names.
func (m mutant) batchable() bool {
	if m.decl == nil || m.decl.Type.TypeParams != nil {
		return false
	}
	fields := m.decl.Type.Params.List
	if m.decl.Recv != nil {
		fields = append(m.decl.Recv.List, fields...)
	}
	for _, f := range fields {
		if _, variadic := f.Type.(*ast.Ellipsis); variadic || len(f.Names) == 0 {
			return false
		}
		for _, name := range f.Names {
			if name.Name == "_" {
				return false
			}
		}
	}
	return true
}

// batch returns the source with all of the mutants in it, numbered from 1. The copies
// begin in line first; lines has for each line from there the mutant that it belongs to.
func batch(source []byte, all []mutant) (text []byte, first int, lines []int) {
	calls := map[*ast.FuncDecl]string{}
	var copies bytes.Buffer
	for i, m := range all {
		d := m.decl
		name := fmt.Sprintf("%s_%d", d.Name.Name, i+1)
		call := name
		if d.Recv != nil {
			call = d.Recv.List[0].Names[0].Name + "." + name
		}
		var args []string
		for _, f := range d.Type.Params.List {
			for _, n := range f.Names {
				args = append(args, n.Name)
			}
		}
		call += "(" + strings.Join(args, ", ") + ")"
		if d.Type.Results != nil {
			call = "return " + call
		} else {
			call += "; return"
		}
		calls[d] += fmt.Sprintf("case %d: %s; ", i+1, call)

		before := copies.Len()
		copies.Write(source[d.Type.Func-1 : d.Name.Pos()-1]) // a Pos counts from 1
		copies.WriteString(name)
		copies.Write(source[d.Name.End()-1 : m.begin])
		copies.WriteString(m.text)
		copies.Write(source[m.end : d.End()-1])
		copies.WriteString("\n\n")
		for range bytes.Count(copies.Bytes()[before:], []byte("\n")) {
			lines = append(lines, i)
		}
	}
	var out bytes.Buffer
	done := 0
	for _, m := range all { // in the order of the source
		if calls[m.decl] != "" {
			body := int(m.decl.Body.Lbrace)
			out.Write(source[done:body])
			fmt.Fprintf(&out, " switch mutant_ { %s}; ", strings.TrimSuffix(calls[m.decl], " "))
			done = body
			delete(calls, m.decl)
		}
	}
	out.Write(source[done:])
	out.WriteString("\n")
	first = bytes.Count(out.Bytes(), []byte("\n")) + 1
	out.Write(copies.Bytes())
	return out.Bytes(), first, lines
}
