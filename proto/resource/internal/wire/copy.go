package wire

import "net/url"

// Copyable is a value that can be copied whole.
type Copyable[T any] interface{ DeepCopy() T }

func CopyPointer[T Copyable[T]](p *T) *T {
	if p == nil {
		return nil
	}
	v := (*p).DeepCopy()

	return &v
}

func CopyPointers[T Copyable[T]](s []*T) []*T {
	return mapped(s, CopyPointer[T])
}

func CopySlice[T Copyable[T]](s []T) []T {
	return mapped(s, T.DeepCopy)
}

func CopyURL(u *url.URL) *url.URL {
	if u == nil {
		return nil
	}
	v := *u

	return &v
}

func CopyURLs(s []*url.URL) []*url.URL { return mapped(s, CopyURL) }

// mapped keeps nil as nil: specs that differ only in this are not equal.
func mapped[T any](s []T, f func(T) T) []T {
	if s == nil {
		return nil
	}
	out := make([]T, len(s))
	for i, v := range s {
		out[i] = f(v)
	}

	return out
}

// CopyStruct copies maps and lists made of maps, lists and scalars.
func CopyStruct(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = copyAny(v)
	}

	return out
}

func copyAny(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return CopyStruct(v)
	case []any:
		return mapped(v, copyAny)
	default:
		return v
	}
}
