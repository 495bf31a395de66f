package upstream

// Pooled counts the connections to other nodes that are kept.
func Pooled(p *Peers) int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return len(p.conns)
}
