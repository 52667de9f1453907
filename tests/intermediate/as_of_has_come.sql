-- Without ingested_at a row of the year 2089 is refused by nothing, and would be "now": every
-- customer would look gone. A test may ask the machine's clock, a model never; a day of grace is
-- for machines whose clocks differ. Mend the row, or set as_of: what happened later does not count.
select as_of
from {{ ref('clock') }}
where as_of > cast(current_timestamp as timestamp) + interval '1' day
