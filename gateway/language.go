package main

import "mypatients/gateway/lang"

// mailWords gives what translates the sentences of mails, by the tag of a language.
func mailWords() (func(tag, english string) (string, bool), error) {
	catalogues := map[lang.Language]*lang.Catalogue{}
	for _, l := range lang.All() {
		c, err := lang.Of(l)
		if err != nil {
			return nil, err
		}
		catalogues[l] = c
	}
	return func(tag, english string) (string, bool) {
		l, ok := lang.Parse(tag)
		if !ok || l == lang.English { // English is the source
			return english, false
		}
		return catalogues[l].Text(english)
	}, nil
}
