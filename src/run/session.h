/* What the rest of this folder may know of a session. */
#ifndef VQ_SRC_RUN_SESSION_H
#define VQ_SRC_RUN_SESSION_H

#include "vitq/session.h"

const vq_model *vq_session_model(const vq_session *session);
vq_device *vq_session_device(const vq_session *session); /* NULL for the witness */
/* The one of them that it has; both NULL for the witness. */
struct vq_int_run *vq_session_ints(const vq_session *session);
struct vq_float_run *vq_session_floats(const vq_session *session);

#endif
