package modules

import (
	"slices"
	"testing"
)

func set() *Set {
	s := &Set{modules: map[string]Module{}, paths: map[string]string{}}
	s.add(parse2("kernel/lib/libcrc32c.ko", "depends=\x00softdep=pre: crc32c"))
	s.add(parse2("kernel/net/nf-conntrack.ko", "depends=libcrc32c\x00alias=nf_conntrack-2"))
	s.add(parse2("kernel/net/netfilter/nf_nat.ko", "depends=nf-conntrack,libcrc32c\x00alias=ip_nat"))
	s.add(parse2("kernel/crypto/crc32c.ko", ""))
	s.add(parse2("kernel/sound/snd.ko", ""))

	return s
}

func parse2(path, info string) Module {
	m := parse(Name(path), []byte(info))
	m.Path = path

	return m
}

func names(list []Module) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Name)
	}

	return out
}

func TestClosureLoadsDependenciesAndSoftdepsFirst(t *testing.T) {
	list, err := set().Closure([]string{"nf_nat"})
	if err != nil {
		t.Fatal(err)
	}

	if got, want := names(list), []string{"crc32c", "libcrc32c", "nf_conntrack", "nf_nat"}; !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}

	if _, err = set().Closure([]string{"nvidia"}); err == nil {
		t.Error("a module that is not there gives no error")
	}
}

func TestSelectByDirectoryAndName(t *testing.T) {
	list, err := set().Select([]string{"net/netfilter/", "sound/snd"}, nil)
	if err != nil {
		t.Fatal(err)
	}

	if got, want := names(list), []string{"crc32c", "libcrc32c", "nf_nat", "nf_conntrack", "snd"}; !slices.Equal(got, want) {
		t.Errorf("selected %v, want %v (sorted by path)", got, want)
	}

	if list, err = set().Select([]string{"net/", "sound/"}, []string{"net/", "sound/sn"}); err != nil || len(list) != 0 {
		t.Errorf("selected %v, %v with everything left out", names(list), err)
	}
}

func TestIndexIsWhatDepmodWrites(t *testing.T) {
	s := set()

	list, err := s.Closure([]string{"nf_nat"})
	if err != nil {
		t.Fatal(err)
	}

	index, err := s.Index(list)
	if err != nil {
		t.Fatal(err)
	}

	for name, want := range map[string]string{
		"modules.dep": "kernel/crypto/crc32c.ko:\nkernel/lib/libcrc32c.ko:\n" +
			"kernel/net/nf-conntrack.ko: kernel/lib/libcrc32c.ko\n" +
			"kernel/net/netfilter/nf_nat.ko: kernel/net/nf-conntrack.ko kernel/lib/libcrc32c.ko\n",
		"modules.alias":   "alias nf_conntrack-2 nf_conntrack\nalias ip_nat nf_nat\n",
		"modules.softdep": "softdep libcrc32c pre: crc32c\n",
	} {
		if got := string(index[name]); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
}
