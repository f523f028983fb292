// Package lang turns the English pages and mails into other languages.
//
// English is the source. A template is written in plain English, and [Translate]
// makes another template of it: it takes the HTML and the actions apart, finds
// the sentences, and puts in their place what the catalogue of the language says.
// A sentence is all that stands between two block elements, with the links, the
// emphasis and the actions inside it, so that a translation can change their
// order and choose its own words by number and gender:
//
//	{{.Name}} has <strong>{{.N}}</strong> request{{if ne .N 1}}s{{end}}.
//		{{.Name}} tiene <strong>{{.N}}</strong> solicitud{{if ne .N 1}}es{{end}}.
//
// What comes out is parsed by html/template like the original. Nothing that a
// person wrote ever passes through here, and no value is put into a text that has
// been escaped already.
//
// The catalogue, es.txt, has the sentence on one line and its translation on the
// next, after a tab. Which of several meanings a word has is said by the template
// that holds it, in a section of its own: [Catalogue]. A translation must have the
// tags and show the values of its sentence, or the catalogue is not read. Whoever
// writes a new sentence finds it named by the tests of gateway/web until es.txt has
// it; meanwhile it is shown in English.
//
// golang.org/x/text/language chooses by Accept-Language. Its message package was
// not taken: it knows Printf formats, not sentences with markup in them.
//
// Times and lists are written here too ([Language.Day]), since x/text has no names of
// months. Plural forms are chosen in the translations, which are templates: in
// English and in Spanish, what is not one is many.
package lang
