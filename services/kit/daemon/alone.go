package daemon

// prepare fills the store of a daemon that runs alone with the machine configuration from its file.
func (e *Env) prepare() error {
	return nil
}
