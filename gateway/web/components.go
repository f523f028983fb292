package web

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"mypatients/consent"
)

// ComponentsPath is where the design system shows itself.
const ComponentsPath = "/demo/components"

// A componentsView is the page of the design system: the tokens of the style
// sheet by their groups, and what is shown in each theme.
type componentsView struct {
	Groups []tokenGroup
	Themes []string // names of classes: light, dark
	Day    time.Time
	Who    consent.ProviderView
}

// A tokenGroup is the tokens below one heading of the style sheet.
type tokenGroup struct {
	Name   string // Letters, Type, Space, Shape, Colours
	Tokens []token
}

// A token is a custom property: --name: value.
type token struct{ Name, Value string }

var (
	groupLine = regexp.MustCompile(`^  /\* (\w+)`)
	tokenLine = regexp.MustCompile(`^  --([a-z0-9-]+): (.+);$`)
)

// tokensOf reads the tokens at the head of a style sheet, so that the page shows
// those in force.
func tokensOf(sheet string) ([]tokenGroup, error) {
	_, rest, _ := strings.Cut(sheet, ":root {\n")
	root, _, ok := strings.Cut(rest, "\n}")
	if !ok {
		return nil, errors.New("web: the style sheet has no tokens")
	}
	var groups []tokenGroup
	for line := range strings.SplitSeq(root, "\n") {
		if m := groupLine.FindStringSubmatch(line); m != nil {
			groups = append(groups, tokenGroup{Name: m[1]})
		}
		if m := tokenLine.FindStringSubmatch(line); m != nil && len(groups) > 0 {
			last := &groups[len(groups)-1]
			last.Tokens = append(last.Tokens, token{m[1], m[2]})
		}
	}
	return groups, nil
}

// dayColour is the value of a token by day, where that is a colour.
var dayColour = regexp.MustCompile(`^(?:light-dark\()?(#[0-9a-f]{6})`)

// Colours are the colours of the pages by day, as #rrggbb, by the names of their
// tokens: text, surface, danger, and so on. "brand" is the configured accent.
func Colours(b Brand) (map[string]string, error) {
	s, err := newStatic(b)
	if err != nil {
		return nil, err
	}
	colours := map[string]string{}
	for _, g := range s.tokens {
		for _, t := range g.Tokens {
			if m := dayColour.FindStringSubmatch(t.Value); m != nil {
				colours[t.Name] = m[1]
			}
		}
	}
	if b.Accent != "" {
		colours["brand"] = b.Accent
	}
	return colours, nil
}

// tokenStyles is a style sheet in which each token has a class that shows it, as
// pages may have no style of their own in them.
func tokenStyles(groups []tokenGroup) []byte {
	property := map[string]string{"Letters": "font-family", "Type": "font-size", "Space": "width", "Colours": "background"}
	var b strings.Builder
	for _, g := range groups {
		for _, t := range g.Tokens {
			if p := property[g.Name]; p != "" {
				fmt.Fprintf(&b, ".t-%s { %s: var(--%s); }\n", t.Name, p, t.Name)
			}
		}
	}
	return []byte(b.String())
}

// componentsPage shows the design system.
func (s *site) componentsPage(v *visit) error {
	return v.show(http.StatusOK, "components", s.components(), nil)
}

func (s *site) components() componentsView {
	return componentsView{
		Groups: s.static.tokens, Themes: []string{"light", "dark"}, Day: s.Now(),
		Who: consent.ProviderView{Name: "Dr. Samir Okafor", Specialty: "Cardiology", Organization: "Longwood Heart"},
	}
}
