package selector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

type token struct {
	text string // the operator, name or value; "" at the end
	kind rune   // 'o' operator, 'n' name, 's' string, 'u' number
	at   int    // column, from 1
}

// maxDepth bounds nesting.
const maxDepth = 50

func scan(text string) ([]token, error) {
	var tokens []token

	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		at := len(strings.TrimRightFunc(text, unicode.IsSpace)) - len(rest) + 1

		t, length, err := next(rest)
		if err != nil {
			return nil, fmt.Errorf("column %d: %w", at, err)
		}

		t.at = at
		tokens = append(tokens, t)
		rest = rest[length:]
	}

	return append(tokens, token{kind: 'o', at: len(text) + 1}), nil
}

func next(rest string) (token, int, error) {
	switch c := rune(rest[0]); {
	case c == '"' || c == '\'':
		end := strings.IndexByte(rest[1:], rest[0])
		if end < 0 || strings.Contains(rest[:end+1], `\`) {
			return token{}, 0, fmt.Errorf("a string that does not end, or holds a backslash, at %s", rest)
		}

		return token{text: rest[1 : end+1], kind: 's'}, end + 2, nil
	case unicode.IsDigit(c):
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(rest)
		}

		length := end
		if end < len(rest) && (rest[end] == 'u' || rest[end] == 'U') {
			length++
		}

		return token{text: rest[:end], kind: 'u'}, length, nil
	case unicode.IsLetter(c) && c < unicode.MaxASCII:
		end := strings.IndexFunc(rest, func(r rune) bool {
			return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_'
		})
		if end < 0 {
			end = len(rest)
		}

		return token{text: rest[:end], kind: 'n'}, end, nil
	}

	for _, op := range []string{"&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "*", "+", ".", ","} {
		if strings.HasPrefix(rest, op) {
			return token{text: op, kind: 'o'}, len(op), nil
		}
	}

	return token{}, 0, fmt.Errorf("%q is not supported", string([]rune(rest)[:1]))
}

type parser struct {
	tokens []token
	pos    int
	depth  int
	column int // of the token that was looked at last
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) at(op string) bool { return p.peek().kind == 'o' && p.peek().text == op }

func (p *parser) take() token {
	t := p.peek()
	p.column = t.at

	if p.pos < len(p.tokens)-1 {
		p.pos++
	}

	return t
}

func (p *parser) expect(op string) error {
	if !p.at(op) {
		p.column = p.peek().at

		return fmt.Errorf("%q is missing before %q", op, p.peek().text)
	}

	p.take()

	return nil
}

// chain parses operands of one precedence, from left to right.
func (p *parser) chain(operand func() (node, error), ops ...string) (node, error) {
	left, err := operand()

	for err == nil && p.peek().kind == 'o' && slices.Contains(ops, p.peek().text) {
		op := p.take()

		var right node
		if right, err = operand(); err == nil {
			left = binary(op.text, op.at, left, right)
		}
	}

	return left, err
}

func (p *parser) or() (node, error)  { return p.chain(p.and, "||") }
func (p *parser) and() (node, error) { return p.chain(p.compare, "&&") }
func (p *parser) compare() (node, error) {
	return p.chain(p.sum, "==", "!=", "<", "<=", ">", ">=")
}
func (p *parser) sum() (node, error)     { return p.chain(p.product, "+") }
func (p *parser) product() (node, error) { return p.chain(p.unary, "*") }

func (p *parser) unary() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}

	defer func() { p.depth-- }()

	switch t := p.take(); {
	case t.kind == 'o' && t.text == "!":
		inner, err := p.unary()
		if err != nil {
			return nil, err
		}

		return binary("==", t.at, constant(false), inner), nil
	case t.kind == 'o' && t.text == "(":
		inner, err := p.or()
		if err != nil {
			return nil, err
		}

		return inner, p.expect(")")
	case t.kind == 's':
		return p.methods(constant(t.text))
	case t.kind == 'u':
		n, err := strconv.ParseUint(t.text, 10, 64)

		return constant(n), err
	case t.kind == 'n':
		return p.name(t.text)
	default:
		return nil, fmt.Errorf("a value is missing before %q", t.text)
	}
}

func (p *parser) name(name string) (node, error) {
	switch {
	case name == "true" || name == "false":
		return constant(name == "true"), nil
	case name == "glob" && p.at("("):
		return p.glob()
	case name == "disk" && p.at("."):
		p.take()

		field := p.take()
		if field.kind != 'n' {
			return nil, fmt.Errorf("a name is missing after disk")
		}

		name += "." + field.text
	}

	if p.at("(") {
		return nil, fmt.Errorf("the function %s is not supported", name)
	}

	value, err := variable(name)
	if err != nil {
		return nil, err
	}

	return p.methods(value)
}

func (p *parser) methods(value node) (node, error) {
	for p.at(".") {
		p.take()

		method := p.take()
		if method.kind != 'n' || !slices.Contains([]string{"startsWith", "endsWith", "contains"}, method.text) {
			return nil, fmt.Errorf("the method %s is not supported", method.text)
		}

		if err := p.expect("("); err != nil {
			return nil, err
		}

		argument, err := p.or()
		if err != nil {
			return nil, err
		}

		value = binary(method.text, method.at, value, argument)

		if err := p.expect(")"); err != nil {
			return nil, err
		}
	}

	return value, nil
}

func (p *parser) glob() (node, error) {
	at := p.take().at

	pattern, err := p.or()
	if err != nil {
		return nil, err
	}

	if err := p.expect(","); err != nil {
		return nil, err
	}

	value, err := p.or()
	if err != nil {
		return nil, err
	}

	return binary("glob", at, pattern, value), p.expect(")")
}
