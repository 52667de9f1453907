-- Every line of the file, typed and sorted into what it is. Nothing is left out: what the
-- warehouse should refuse is passed on as it is, and lands in `quarantine`.
with lines as (
    select
        InvoiceNo as invoice,
        StockCode as stock_code,
        -- 15056bl and 15056BL are one product.
        upper(StockCode) as product_id,
        Description as description,
        Quantity as quantity,
        -- London wall-clock time without a zone.
        InvoiceDate at time zone 'Europe/London' at time zone 'UTC' as invoiced_at,
        UnitPrice as unit_price,
        -- Ids were read as numbers once: 17850.0 is customer 17850.
        regexp_replace(CustomerID, '[.]0$', '') as customer_id,
        Country as country
    from {{ perennial.example_file('online_retail.parquet') }}
)

select
    *,
    -- Lines that are equal in everything get one number, so that staging keeps one of them
    -- and shows the others as duplicates.
    dense_rank() over (
        partition by invoice
        order by stock_code, description, quantity, invoiced_at, unit_price, customer_id, country
    ) as line_number,
    case
        when upper(stock_code) in ('POST', 'DOT', 'C2') and invoice like 'C%' then 'shipping return'
        when upper(stock_code) in ('POST', 'DOT', 'C2') then 'shipping'
        when invoice like 'C%' then 'return'
        else 'sale'
    end as kind,
    invoice not like 'C%' and invoice not like 'A%' and quantity > 0 and unit_price > 0 as is_sold
from lines
