package idp

import "strings"

// Values gives the texts of a claim, one or several, by its name or by a path of
// names with dots between ("realm_access.roles"). What is no text is left out.
func (i *Identity) Values(path string) []string {
	if value, ok := i.Claims[path]; ok { // names may have dots of their own
		return texts(value)
	}
	var at any = i.Claims
	for name := range strings.SplitSeq(path, ".") {
		members, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = members[name]
	}
	return texts(at)
}

func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, item := range v {
			if text, ok := item.(string); ok {
				list = append(list, text)
			}
		}
		return list
	}
	return nil
}
