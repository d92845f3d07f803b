#include "core/buf.h"
#include "dataset/capture.h"

void sql_name(struct buf *b, struct str name)
{
	buf_addc(b, '"');
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '"')
			buf_addc(b, '"');
		buf_addc(b, name.p[i]);
	}
	buf_addc(b, '"');
}
