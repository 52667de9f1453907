-- Negative quantities and prices (write-offs of stock, bad debt) are passed on; the contract
-- refuses them. Postage is on the order, except where such a line is refused in any case.
select
    invoice as order_id,
    line_number,
    product_id,
    quantity,
    unit_price
from {{ ref('online_retail_lines') }}
where kind = 'sale' or (kind = 'shipping' and not is_sold)
