-- What was on the receipts. The line of no receipt, r9, is quarantined and in no figure.
with lines as (
    select * from {{ source('till', 'lines') }}
)

select
    receipt as order_id,
    place as line_number,
    article as product_id,
    pieces as quantity,
    cents / 100.0 as unit_price
from lines
