package profile

import (
	"slices"
	"strings"
)

// matches reports whether a value belongs to a slice
// (https://hl7.org/fhir/R4/profiling.html#discriminator).
func (c *profileCheck) matches(slice *node, by [][2]string, v item) bool {
	for _, d := range by {
		if !c.discriminates(slice, d[0], d[1], v) {
			return false
		}
	}
	return len(by) > 0
}

func (c *profileCheck) discriminates(slice *node, kind, path string, v item) bool {
	switch kind {
	case "value", "pattern":
		return c.hasValueOf(slice, path, v)
	case "exists":
		n, items := c.follow(slice, path, []item{v})
		if n == nil {
			return false
		}
		return n.max == 0 && len(items) == 0 || n.max != 0 && n.min > 0 && len(items) > 0
	case "type":
		n, items := c.follow(slice, path, []item{v})
		return n != nil && slices.ContainsFunc(items, func(i item) bool { return c.isTyped(n, i) })
	case "profile":
		n, items := c.follow(slice, path, []item{v})
		return n != nil && slices.ContainsFunc(items, func(i item) bool { return c.isProfiled(n, i) })
	}
	return false
}

// hasValueOf compares what the slice fixes along the path, in the slices that it
// requires too. A binding counts where nothing is fixed.
func (c *profileCheck) hasValueOf(slice *node, path string, v item) bool {
	items, nodes, fixed := []item{v}, []*node{slice}, false
	for name := range strings.SplitSeq("$this."+path, ".") {
		switch {
		case name == "$this":
		case name == "url" && slice.child("url") == nil && len(slice.types) == 1 && len(slice.types[0].Profiles) == 1:
			url, _, _ := strings.Cut(slice.types[0].Profiles[0], "|")
			return slices.ContainsFunc(c.stepAll(items, "url"), func(i item) bool { return i.v == url })
		default:
			items, nodes = c.stepAll(items, name), below(nodes, name)
		}
		for _, n := range nodes {
			if n.fixed == nil && n.pattern == nil {
				continue
			}
			fixed = true
			if !slices.ContainsFunc(items, func(i item) bool {
				return (n.fixed == nil || equalValues(n.fixed, i.v)) && (n.pattern == nil || fits(n.pattern, i.v))
			}) {
				return false
			}
		}
	}
	if fixed {
		return true
	}
	return len(nodes) == 1 && nodes[0].binding != nil && nodes[0].binding.set != nil &&
		slices.ContainsFunc(items, func(i item) bool { return nodes[0].binding.set.judge(i) == inside })
}

// below gives what the profile says of a child, and of the slices of it that
// must be there.
func below(nodes []*node, name string) []*node {
	var out []*node
	for _, n := range nodes {
		child := n.child(name)
		if child == nil {
			continue
		}
		out = append(out, child)
		for _, s := range child.slices {
			if s.min > 0 {
				out = append(out, s)
			}
		}
	}
	return out
}

// follow goes down a path in the profile and in the value at once.
func (c *profileCheck) follow(n *node, path string, items []item) (*node, []item) {
	for name := range strings.SplitSeq(path, ".") {
		switch name {
		case "$this":
		case "resolve()":
			items = c.resolve(items)
		default:
			items = c.stepAll(items, name)
			if n = n.child(name); n == nil {
				return nil, nil
			}
		}
	}
	return n, items
}

func (c *profileCheck) stepAll(items []item, name string) []item {
	var out []item
	for _, i := range items {
		out = c.children(out, i, name)
	}
	return out
}

func (c *profileCheck) isTyped(n *node, i item) bool {
	for _, t := range n.types {
		if i.t != nil && t.Code == i.t.name {
			return true
		}
		if slices.ContainsFunc(t.Targets, func(target string) bool { return i.t != nil && c.targetType(target) == i.t.name }) {
			return true
		}
	}
	return false
}

// isProfiled asks for the type only where a reference was followed.
func (c *profileCheck) isProfiled(n *node, i item) bool {
	if c.isTyped(n, i) && (i.t.resource || len(n.types[0].Profiles) == 0) {
		return true
	}
	for _, t := range n.types {
		for _, url := range t.Profiles {
			if p := c.pack.find(url); p != nil && p.root != nil && !i.t.resource {
				before := c.issues
				c.issues = nil
				c.node(p.root, i, nil)
				ok := len(c.issues) == 0
				c.issues = before
				if ok {
					return true
				}
			}
		}
	}
	return false
}
