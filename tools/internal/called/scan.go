package main

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// starters are functions that start the program which an argument names: the argument's place by "package.Function".
type starters map[string]int

// programs are the names of programs that the files start, sorted.
func programs(files []*ast.File) []string {
	known := starters{"exec.Command": 0, "exec.CommandContext": 1, "exec.LookPath": 0}
	for more := true; more; {
		more = false

		for _, file := range files {
			more = known.learn(file) || more
		}
	}

	found := map[string]bool{}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			if name := literal(known.program(file, node)); name != "" {
				found[name] = true
			}

			if function, ok := node.(*ast.FuncDecl); ok && known.spreads(file, function) {
				tables(function, found)
			}

			return true
		})
	}

	return slices.Sorted(maps.Keys(found))
}

// learn adds the functions of a file that give one of their parameters to a known one; true when there was a new one.
func (s starters) learn(file *ast.File) bool {
	more := false

	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}

		places := parameters(function.Type)
		ast.Inspect(function.Body, func(node ast.Node) bool {
			place, ok := places[variable(s.program(file, node))]
			name := packageOf(file) + "." + function.Name.Name
			if _, known := s[name]; ok && !known {
				s[name], more = place, true
			}

			return true
		})
	}

	return more
}

// spreads is true for a function that starts programs out of lists: Run(command...), Command(args[0], args[1:]...).
func (s starters) spreads(file *ast.File, function *ast.FuncDecl) bool {
	found := false

	ast.Inspect(function, func(node ast.Node) bool {
		if list := variable(s.program(file, node)); list != "" {
			_, parameter := parameters(function.Type)[list]
			found = found || !parameter
		}

		return true
	})

	return found
}

// tables adds the first words of a function's lists of lists of strings.
func tables(function *ast.FuncDecl, found map[string]bool) {
	ast.Inspect(function, func(node ast.Node) bool {
		list, ok := node.(*ast.CompositeLit)
		if !ok || list.Type != nil || len(list.Elts) == 0 {
			return true
		}

		if name := literal(list.Elts[0]); name != "" {
			found[name] = true
		}

		return true
	})
}

// program is the argument of a call in file that names the program, nil when node is no call that starts one.
func (s starters) program(file *ast.File, node ast.Node) ast.Expr {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return nil
	}

	place, ok := s[called(file, call.Fun)]
	if !ok || place >= len(call.Args) {
		return nil
	}

	return call.Args[place]
}

// called is "package.Function"; methods are taken for functions of the file's own package.
func called(file *ast.File, function ast.Expr) string {
	switch f := function.(type) {
	case *ast.Ident:
		return packageOf(file) + "." + f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && imports(file, x.Name) {
			return x.Name + "." + f.Sel.Name
		}

		return packageOf(file) + "." + f.Sel.Name
	}

	return ""
}

// packageOf is one name for a package and its tests in a package of their own.
func packageOf(file *ast.File) string {
	return strings.TrimSuffix(file.Name.Name, "_test")
}

func imports(file *ast.File, name string) bool {
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
		return strings.HasSuffix(strings.Trim(spec.Path.Value, `"`), name)
	})
}

// parameters are the places of a function's string parameters by their names.
func parameters(function *ast.FuncType) map[string]int {
	places, place := map[string]int{}, 0

	for _, field := range function.Params.List {
		for _, name := range field.Names {
			if strings.HasSuffix(typeName(field.Type), "string") {
				places[name.Name] = place
			}

			place++
		}
	}

	return places
}

// typeName is "string" for a string and for a variadic list of strings.
func typeName(expression ast.Expr) string {
	switch t := expression.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.Ellipsis:
		return typeName(t.Elt)
	}

	return ""
}

// variable is the name in an expression that is a variable, or the first of a list.
func variable(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.IndexExpr:
		if index, ok := e.Index.(*ast.BasicLit); ok && index.Value == "0" {
			return variable(e.X)
		}
	}

	return ""
}

// literal is the program that a string literal names; "" for a path, which no package list answers for.
func literal(expression ast.Expr) string {
	lit, ok := expression.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}

	name, err := strconv.Unquote(lit.Value)
	if err != nil || strings.ContainsAny(name, "/ ") || strings.HasPrefix(name, "-") {
		return ""
	}

	return name
}
