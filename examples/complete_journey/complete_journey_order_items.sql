-- sales_value is what the retailer received: after its own discounts, before the coupons that
-- manufacturers pay for. The shelf price is found by adding the retailer's discounts again.
with lines as (
    select
        transactions.*,
        retail_disc + coupon_match_disc as discount_amount,
        -- Fuel is counted in thousandths of a gallon; a fill is one unit here.
        case
            when products.product_category in ('FUEL', 'COUPON/MISC ITEMS') and transactions.quantity > 100
                then 1
            else transactions.quantity
        end as units
    from {{ perennial.example_file('transactions.parquet') }} as transactions
    left join {{ perennial.example_file('products.parquet') }} as products
        on transactions.product_id = products.product_id
)

select
    cast(basket_id as varchar) as order_id,
    -- A product lies in a basket at most once.
    row_number() over (partition by basket_id order by product_id) as line_number,
    cast(product_id as varchar) as product_id,
    -- Lines of no units (8,869, most of them coupons and free goods) are refused by the contract.
    units as quantity,
    case
        when units > 0 then round((sales_value + discount_amount) / units, 4)
        else sales_value
    end as unit_price,
    round(discount_amount, 2) as discount_amount
from lines
