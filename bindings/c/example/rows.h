/* Rows of flights as an Arrow stream, made by hand. A larger program uses nanoarrow for that. */
#ifndef ROWS_H
#define ROWS_H

#include "pillion.h"

/* A flight: its key is the carrier and the number. */
struct flight {
  const char *carrier;
  int64_t number;
  double delay;
  bool has_delay;
};

/* Puts copies of some flights into a stream of one batch, with the columns carrier, flight and delay. */
void flights_stream(const struct flight *flights, int64_t count, struct ArrowArrayStream *stream);

#endif
