//! What the daemon asks of a relay: to serve a connection, and to hand on the log.

use std::rc::Rc;

use underpass_daemon::{Accepted, Admitted, Service};

use crate::settings::Role;
use crate::socket::Socket;
use crate::worker::Worker;
use crate::{connection, echo};

impl Service for Worker {
    const UNIT: &'static str = "connection";

    fn serve(
        self: Rc<Self>,
        accepted: Accepted,
        admitted: Admitted,
    ) -> impl Future<Output = ()> + 'static {
        let (socket, peer) = Socket::accepted(accepted);
        async move {
            match self.settings.role.clone() {
                Role::Relay => connection::relay(socket, peer, self, admitted).await,
                Role::Echo(tee) => {
                    echo::echo(socket, peer, tee, self).await;
                    drop(admitted);
                }
            }
        }
    }

    fn flush(&self) {
        self.lines.borrow_mut().flush();
    }
}
